/** What an OpenAPI document of ours looks like. */
import type { Schema } from "./schema.ts";

export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Paths;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly responses: Readonly<Record<string, OperationResponse>>;
    readonly securitySchemes: Readonly<Record<string, object>>;
  };
  readonly [more: string]: unknown;
}

/** By path, then by method in lower case. */
export type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

export interface Reference {
  readonly $ref: string;
}

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly tags: readonly string[];
  /** Who may call, as in contract.ts. */
  readonly "x-callers": string;
  readonly security: readonly object[];
  readonly parameters: readonly OperationParameter[];
  readonly requestBody?: {
    readonly required: boolean;
    readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
  };
  readonly responses: Readonly<Record<string, OperationResponse | Reference>>;
}

export interface OperationParameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly schema: Schema;
}

export interface OperationResponse {
  readonly description: string;
  readonly headers?: Readonly<Record<string, object>>;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

/** What a response of the document is, wherever it is said. */
export function resolveResponse(
  { components }: OpenApiDocument,
  response: OperationResponse | Reference | undefined,
): OperationResponse | undefined {
  if (response === undefined || !("$ref" in response)) return response;
  return components.responses[response.$ref.split("/").at(-1) ?? ""];
}
