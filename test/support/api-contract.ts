import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import {
  type OpenApiDocument,
  type Operation,
  type OperationResponse,
  resolveResponse,
} from "../../src/http/openapi/document-form.ts";

export interface ObservedAnswer {
  readonly method: string;
  /** As on the wire, with or without a query. */
  readonly path: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Holds answers to what the document says about them, to the letter: a field that it does not name is a violation. */
export class ApiContract {
  readonly #paths: readonly { readonly segments: readonly string[]; readonly operations: Operations }[];
  readonly #document: OpenApiDocument;
  readonly #ajv: Ajv2020;
  readonly #validators = new Map<object, ValidateFunction>();

  constructor(document: OpenApiDocument) {
    this.#document = document;
    this.#paths = Object.entries(document.paths)
      .map(([path, operations]) => ({ segments: path.split("/"), operations }))
      // Literals before parameters.
      .sort((one, other) => parametersIn(one.segments) - parametersIn(other.segments));
    this.#ajv = new Ajv2020({ strict: true, strictTypes: false });
    // Published for CommonJS, which the types do not say to every runtime.
    (typeof formats === "function" ? formats : (formats as unknown as { default: typeof formats.default }).default)(
      this.#ajv,
    );
    this.#ajv.addKeyword("components");
    this.#ajv.addSchema({ $id: "api", components: strict(document.components) as object });
  }

  find(method: string, path: string): Operation | undefined {
    const segments = (path.split(/[?#]/, 1)[0] ?? "").split("/");
    for (const { segments: template, operations } of this.#paths) {
      if (template.length !== segments.length) continue;
      if (!template.every((part, index) => part.startsWith("{") || part === segments[index])) continue;
      const operation = operations[(method === "HEAD" ? "GET" : method).toLowerCase()];
      if (operation !== undefined) return operation;
    }
    return undefined;
  }

  /** What is wrong with an answer; undefined when nothing is. Answers of no route are not judged. */
  violation(answer: ObservedAnswer): string | undefined {
    const operation = this.find(answer.method, answer.path);
    if (operation === undefined || isTransportAnswer(answer)) return undefined;
    const response = resolveResponse(this.#document, operation.responses[String(answer.status)]);
    const problem = this.#problem(response, answer);
    if (problem === undefined) return undefined;
    return `${answer.method} ${answer.path} (${operation.operationId}) answered ${answer.status}: ${problem}\n${answer.text.slice(0, 2_000)}`;
  }

  #problem(response: OperationResponse | undefined, answer: ObservedAnswer): string | undefined {
    if (response === undefined) return "the document does not know this status";
    if (answer.method === "HEAD") return undefined;
    const type = (answer.headers.get("content-type") ?? "").split(";", 1)[0] ?? "";
    if (answer.text === "" && response.content === undefined) return undefined;
    const content = response.content?.[type];
    if (content === undefined) return `the document does not know the type ${type}`;
    if (type !== "application/json") return undefined;
    const validate = this.#validatorOf(content.schema);
    return validate(JSON.parse(answer.text)) ? undefined : this.#ajv.errorsText(validate.errors);
  }

  #validatorOf(schema: object): ValidateFunction {
    let validate = this.#validators.get(schema);
    if (validate === undefined) {
      validate = this.#ajv.compile(strict(schema) as object);
      this.#validators.set(schema, validate);
    }
    return validate;
  }
}

type Operations = Readonly<Record<string, Operation>>;

/** What comes before any route: a malformed escape, and a path that is not clean. */
function isTransportAnswer({ status, headers }: ObservedAnswer): boolean {
  return (status === 400 || status === 307) && (headers.get("content-type") ?? "").startsWith("text/plain");
}

function parametersIn(segments: readonly string[]): number {
  return segments.filter((segment) => segment.startsWith("{")).length;
}

/** Objects have the members that are named and no others; references lead into the document. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([keyword, value]) => [
    keyword,
    keyword === "$ref" ? `api${String(value)}` : strict(value),
  ]);
  const isClosed = "properties" in schema && !("additionalProperties" in schema) && "type" in schema;
  return Object.fromEntries(isClosed ? [...entries, ["additionalProperties", false]] : entries);
}
