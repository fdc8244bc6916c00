/**
 * The API as an OpenAPI 3.1 document, made of the contracts that the router was given. Nothing is written here by hand
 * but what is the same for every route.
 */
import { areas, callers, pageQuery, type RouteContract } from "./contract.ts";
import type { OpenApiDocument, Operation, OperationParameter, OperationResponse } from "./document-form.ts";
import { type ErrorCode, errorCodes } from "./error-codes.ts";
import { listOf, maybe, named, type Schema, schemaName, shape, text } from "./schema.ts";
import { shareResponses } from "./share-responses.ts";

const introduction = [
  "The management API of agent-vault. Generated from what the server itself parses and checks.",
  "Send a token as `Authorization: Bearer <token>`, or the cookie `av_session`. Bodies are JSON whatever their content type says, at most 1 MiB; names of fields match without regard to case, unknown ones are ignored, `null` counts as absent, and of a field that is sent twice the last counts.",
  "Every error has a stable word (`code`) and a sentence (`error`). Two have the word in `error` and the sentence in `message`: `not_initialized` and `too_many_requests`. A path that does not exist answers 404, one that does not have the method 405, a malformed escape 400, all as plain text; a path with `//`, `.` or `..` is redirected. GET routes answer HEAD too.",
  "Times are RFC 3339 in UTC and whole seconds. Answers may get more fields; clients ignore those that they do not know.",
].join("\n\n");

/** Errors that name their word in `error`. */
const brokerCodes: ReadonlySet<ErrorCode> = new Set(["not_initialized", "too_many_requests"]);
const writing: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/** @throws {Error} when two contracts give one name to different things. */
export function buildDocument(contracts: readonly RouteContract[], version: string): OpenApiDocument {
  const components = new Components();
  const paths: Record<string, Record<string, Operation>> = {};
  const order = Object.keys(areas);
  const sorted = [...contracts].sort((one, other) => order.indexOf(one.area) - order.indexOf(other.area));
  const operations = new Set<string>();
  for (const contract of sorted) {
    if (operations.has(contract.operation)) throw new Error(`Two routes are called ${contract.operation}`);
    operations.add(contract.operation);
    const path = contract.path.replaceAll("...}", "}");
    paths[path] = { ...paths[path], [contract.method.toLowerCase()]: operationOf(contract, components) };
  }
  const { responses, shared } = shareResponses(paths);
  return {
    openapi: "3.1.0",
    info: {
      title: "agent-vault",
      version,
      description: introduction,
    },
    servers: [{ url: "/", description: "The server that serves this document" }],
    tags: Object.entries(areas).map(([name, description]) => ({ name, description })),
    paths: shared,
    components: {
      schemas: components.all(),
      responses,
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "Of a login, an agent or a vault" },
        cookie: { type: "apiKey", in: "cookie", name: "av_session", description: "For browsers" },
      },
    },
  };
}

/** The words that a route may answer, each with the status that goes with it. */
export function codesOf(contract: RouteContract): ReadonlySet<ErrorCode> {
  const isWriting = writing.has(contract.method);
  const isPaged = contract.query !== undefined && Object.values(contract.query).includes(pageQuery.cursor);
  const groups: readonly (readonly ErrorCode[] | false)[] = [
    ["too_many_requests", "foreign_host", "internal"],
    contract.access === "session" && [
      "authorization_required",
      "invalid_session",
      "session_expired",
      "session_ended",
      "grant_revoked",
      "database_unavailable",
    ],
    callers[contract.who].codes,
    contract.initGate !== false && ["not_initialized"],
    isWriting && ["cross_origin", "database_busy"],
    contract.body !== undefined && ["invalid_body", "incomplete_body", "body_too_large"],
    isPaged && ["invalid_limit", "invalid_cursor"],
    contract.errors ?? [],
  ];
  return new Set(groups.flatMap((group) => group || []));
}

function operationOf(contract: RouteContract, components: Components): Operation {
  const { body } = contract;
  const notes = contract.notes === undefined ? [] : [contract.notes];
  return {
    operationId: contract.operation,
    summary: contract.does,
    description: [`Who may call: ${lowerFirst(callers[contract.who].says)}.`, ...notes].join("\n\n"),
    tags: [contract.area],
    "x-callers": contract.who,
    security: securityOf(contract),
    parameters: parametersOf(contract).map((parameter) => ({
      ...parameter,
      schema: components.take(parameter.schema),
    })),
    ...(body !== undefined && {
      requestBody: {
        required: !body.isOptional,
        content: { "application/json": { schema: components.take(body.schema) } },
      },
    }),
    responses: responsesOf(contract, components),
  };
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function securityOf({ access, who }: RouteContract): readonly object[] {
  const schemes = [{ token: [] }, { cookie: [] }];
  if (access === "session" || who !== "anybody") return schemes;
  return [];
}

/** What the parameters of a path usually are. */
const pathWords: Readonly<Record<string, string>> = {
  name: "Name of the vault",
  agentName: "Name of the agent",
  email: "Address of the person",
};

function parametersOf(contract: RouteContract): readonly OperationParameter[] {
  const inPath = [...contract.path.matchAll(/\{(\w+)(?:\.\.\.)?\}/g)].map(([, name = ""]): OperationParameter => {
    const words = contract.path.startsWith("/v1/agents/{name}") ? "Name of the agent" : pathWords[name];
    return { name, in: "path", required: true, schema: contract.params?.[name] ?? text(words) };
  });
  const inQuery = Object.entries(contract.query ?? {}).map(
    ([name, { schema, isRequired }]): OperationParameter => ({
      name,
      in: "query",
      required: isRequired ?? false,
      schema,
    }),
  );
  const inHeaders = Object.entries(contract.headers ?? {}).map(
    ([name, schema]): OperationParameter => ({ name, in: "header", required: false, schema }),
  );
  return [...inPath, ...inQuery, ...inHeaders];
}

function responsesOf(contract: RouteContract, components: Components): Readonly<Record<string, OperationResponse>> {
  const answers = Object.entries(contract.answers).map(([status, answer]): [string, OperationResponse] => [
    status,
    {
      description: answer.description,
      ...(answer.headers !== undefined && {
        headers: Object.fromEntries(
          Object.entries(answer.headers).map(([name, description]) => [
            name,
            { description, schema: { type: "string" } },
          ]),
        ),
      }),
      ...(answer.content !== undefined && {
        content: Object.fromEntries(
          Object.entries(answer.content).map(([type, schema]) => [type, { schema: components.take(schema) }]),
        ),
      }),
    },
  ]);
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codesOf(contract)) {
    const { status } = meaningOf(code);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const errors = [...byStatus].map(([status, codes]): [string, OperationResponse] => [
    String(status),
    errorResponse(codes, contract.hasBrokerErrors ?? false, components),
  ]);
  return Object.fromEntries(merge([...answers, ...errors]).sort(([one], [other]) => Number(one) - Number(other)));
}

/** A status that is both an answer and an error (`/health` says 503 in its own way) has both shapes. */
function merge(responses: readonly [string, OperationResponse][]): [string, OperationResponse][] {
  const merged = new Map<string, OperationResponse>();
  for (const [status, response] of responses) {
    const known = merged.get(status);
    if (known === undefined) {
      merged.set(status, response);
      continue;
    }
    const content = { ...known.content };
    for (const [type, { schema }] of Object.entries(response.content ?? {})) {
      const other = content[type];
      content[type] = { schema: other === undefined ? schema : { anyOf: [other.schema, schema] } };
    }
    merged.set(status, { ...known, description: `${known.description}, or:\n${response.description}`, content });
  }
  return [...merged];
}

function errorResponse(
  codes: readonly ErrorCode[],
  hasBrokerErrors: boolean,
  components: Components,
): OperationResponse {
  const broker = codes.filter((code) => brokerCodes.has(code) || (hasBrokerErrors && meaningOf(code).status < 500));
  const plain = codes.filter((code) => !broker.includes(code));
  const schemas = [
    ...(plain.length > 0 ? [{ ...components.take(anyError), properties: { code: { enum: plain } } }] : []),
    ...(broker.length > 0 ? [{ ...components.take(anyBrokerError), properties: { error: { enum: broker } } }] : []),
  ];
  const [only] = schemas;
  return {
    description: codes.map((code) => `\`${code}\`: ${meaningOf(code).means}`).join("\n"),
    content: { "application/json": { schema: schemas.length === 1 && only !== undefined ? only : { oneOf: schemas } } },
  };
}

/** More members say more about some codes: `candidates`, `vault`. */
const anyError = named("Error", {
  ...shape({
    code: text("A stable word"),
    error: text("A sentence for a person"),
    hint: maybe(text("What would work")),
    candidates: maybe(listOf(shape({ name: text(), host: text() }))),
    request_id: maybe(text("What to look for in the server's log")),
  }),
  additionalProperties: true,
});
const anyBrokerError = named("BrokerError", {
  ...shape({
    error: text("A stable word"),
    message: text("A sentence for a person"),
    hint: maybe(text("What would work")),
  }),
  additionalProperties: true,
});

function meaningOf(code: ErrorCode): { readonly status: number; readonly means: string } {
  const meaning = errorCodes.get(code);
  if (meaning === undefined) throw new Error(`There is no error ${code}`);
  return meaning;
}

/** Collects the schemas that have a name, and puts a reference where they are used. */
class Components {
  readonly #schemas = new Map<string, Schema>();

  take(schema: Schema): Schema {
    const name = schema[schemaName];
    const plain = Object.fromEntries(Object.entries(schema).map(([keyword, value]) => [keyword, this.#walk(value)]));
    if (name === undefined) return plain;
    const known = this.#schemas.get(name);
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(plain)) {
      throw new Error(`Two schemas are called ${name}`);
    }
    this.#schemas.set(name, plain);
    return { $ref: `#/components/schemas/${name}` };
  }

  all(): Readonly<Record<string, Schema>> {
    return Object.fromEntries([...this.#schemas].sort(([one], [other]) => (one < other ? -1 : 1)));
  }

  #walk(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#walk(item));
    return typeof value === "object" && value !== null ? this.take(value as Schema) : value;
  }
}
