/** Service documents: the YAML that `service list` prints and `service set` and `add` read. */
import { parse, stringify, YAMLError } from "yaml";
import { InvalidInput, UsageError } from "../errors.ts";

/** Fields that a service may have. Another one is a mistake that the server would drop without a word. */
export const serviceFields: readonly string[] = [
  ...["name", "host", "path", "port", "enabled", "auth", "substitutions", "description"],
  ...["schemes", "methods", "scrub", "strip_headers", "set_cookie"],
];

/** Fields of any auth type; which go together is checked where the types are known. */
export const authFields: readonly string[] = [
  "type",
  "token",
  "username",
  "password",
  "key",
  "header",
  "prefix",
  "headers",
];
export const substitutionFields: readonly string[] = ["key", "placeholder", "in"];

/**
 * @param source what the text came from, for messages
 * @throws {InvalidInput} for malformed YAML, unknown fields, and a document without `services`.
 */
export function parseServiceFile(text: string, source: string): readonly Record<string, unknown>[] {
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    if (!(cause instanceof YAMLError)) throw cause;
    const line = cause.linePos?.[0].line;
    const reason = cause.message.split("\n")[0]?.replace(/ at line \d+.*$/, "");
    throw new InvalidInput("bad_yaml", `Not valid YAML in ${source}${line ? `, line ${line}` : ""}: ${reason}`, {
      cause,
    });
  }
  if (!isRecord(document) || !Array.isArray(document.services)) {
    throw new InvalidInput("services_missing", `There is no list "services" in ${source}`, {
      hint: "an empty list, services: [], is written out when all of them should go",
    });
  }
  refuseUnknown(document, ["vault", "services"], source);
  return document.services.map((service: unknown, at) => {
    const where = `service ${at + 1} of ${source}`;
    if (!isRecord(service)) throw new InvalidInput("bad_service", `${capital(where)} is not a mapping`);
    refuseUnknown(service, serviceFields, where);
    if (isRecord(service.auth)) refuseUnknown(service.auth, authFields, `the auth of ${where}`);
    return joinHost(service, where);
  });
}

/** The document of a vault, which `parseServiceFile` reads back. */
export function formatServiceFile(vault: string, services: readonly unknown[]): string {
  return stringify({ vault, services }, { lineWidth: 0 });
}

/** Folds separate `port` and `path` into the host. @throws {InvalidInput} when the host names others. */
function joinHost(
  { port, path, description: _, ...service }: Record<string, unknown>,
  where: string,
): Record<string, unknown> {
  if (port === undefined && path === undefined) return service;
  const { host } = service;
  if (typeof host !== "string") throw new InvalidInput("bad_service", `${capital(where)} has no host`);
  const match = /^([^/]*?)(?::(\d+))?(\/.*)?$/.exec(host);
  const [, name = host, inlinePort, inlinePath] = match ?? [];
  if (port !== undefined && inlinePort !== undefined && String(port) !== inlinePort) {
    throw new InvalidInput(
      "ports_differ",
      `${capital(where)} names the port ${inlinePort} in its host and ${port} beside it`,
    );
  }
  if (path !== undefined && inlinePath !== undefined && path !== inlinePath) {
    throw new InvalidInput(
      "paths_differ",
      `${capital(where)} names the path ${inlinePath} in its host and ${path} beside it`,
    );
  }
  const joinedPort = inlinePort ?? port;
  return { ...service, host: `${name}${joinedPort === undefined ? "" : `:${joinedPort}`}${inlinePath ?? path ?? ""}` };
}

function refuseUnknown(record: Record<string, unknown>, known: readonly string[], where: string): void {
  const unknown = Object.keys(record).find((field) => !known.includes(field));
  if (unknown !== undefined) {
    throw new InvalidInput("unknown_field", `${capital(where)} has an unknown field "${unknown}"`, {
      hint: `one of ${known.join(", ")}`,
    });
  }
}

export interface AuthFlags {
  readonly "auth-type": string | undefined;
  readonly "token-key": string | undefined;
  readonly "username-key": string | undefined;
  readonly "password-key": string | undefined;
  readonly "api-key-key": string | undefined;
  readonly "api-key-header": string | undefined;
  readonly "api-key-prefix": string | undefined;
  readonly "custom-header": readonly string[];
}

/** Flags of each auth type. */
const flagsOf: Readonly<Record<string, readonly (keyof AuthFlags)[]>> = {
  bearer: ["token-key"],
  basic: ["username-key", "password-key"],
  "api-key": ["api-key-key", "api-key-header", "api-key-prefix"],
  custom: ["custom-header"],
  passthrough: [],
};
const needed: Readonly<Record<string, keyof AuthFlags>> = {
  bearer: "token-key",
  basic: "username-key",
  "api-key": "api-key-key",
  custom: "custom-header",
};

/** @throws {UsageError} for a flag that is missing or belongs to another type. */
export function authFromFlags(flags: AuthFlags, given: ReadonlySet<string>): Record<string, unknown> {
  const type = flags["auth-type"];
  const types = Object.keys(flagsOf);
  if (type === undefined)
    throw new UsageError("auth_type_missing", "--host needs --auth-type", { hint: `one of ${types.join(", ")}` });
  const own = flagsOf[type] ?? [];
  const stray = Object.values(flagsOf)
    .flat()
    .find((name) => given.has(name) && !own.includes(name));
  if (stray) throw new UsageError("stray_flag", `--${stray} does not go with --auth-type ${type}`);
  const key = needed[type];
  if (key && !given.has(key)) throw new UsageError("auth_flag_missing", `--auth-type ${type} needs --${key}`);
  const text = (name: keyof AuthFlags) => (given.has(name) || name === "api-key-header" ? flags[name] : undefined);
  return withoutUndefined({
    type,
    ...(type === "bearer" && { token: text("token-key") }),
    ...(type === "basic" && { username: text("username-key"), password: text("password-key") }),
    ...(type === "api-key" && {
      key: text("api-key-key"),
      header: text("api-key-header"),
      prefix: text("api-key-prefix"),
    }),
    ...(type === "custom" && { headers: Object.fromEntries(flags["custom-header"].map(parseHeader)) }),
  });
}

function parseHeader(text: string): [string, string] {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(.+)$/.exec(text);
  if (match) return [match[1] ?? "", match[2] ?? ""];
  throw new UsageError("bad_custom_header", "--custom-header should be NAME=TEMPLATE", {
    hint: "--custom-header 'X-Api-Key={{ API_KEY }}'",
  });
}

/** `PLACEHOLDER=KEY@path,query`. @throws {UsageError} */
export function parseSubstitution(text: string): Record<string, unknown> {
  const match = /^(.+?)=([A-Z][A-Z0-9_]*)(?:@([a-z,]+))?$/.exec(text);
  if (!match) {
    throw new UsageError("bad_substitution", "--substitute should be PLACEHOLDER=KEY or PLACEHOLDER=KEY@path,query", {
      hint: "--substitute __account__=ACCOUNT_ID@path",
    });
  }
  const [, placeholder, key, surfaces] = match;
  return withoutUndefined({ key, placeholder, in: surfaces?.split(",") });
}

/** A name for a service that was given none: `api.stripe.com/v1/*` becomes `api-stripe-com-v1`, with a number if taken. */
export function deriveName(host: string, taken: ReadonlySet<string>): string {
  const slug = host
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60)
    .replace(/-+$/, "");
  const base = slug.length >= 3 ? slug : `service-${slug || "1"}`;
  if (!taken.has(base)) return base;
  for (let number = 2; ; number++) if (!taken.has(`${base}-${number}`)) return `${base}-${number}`;
}

function withoutUndefined(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
