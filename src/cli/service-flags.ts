/** The flags that describe one service, and what they make: for `vault service add` and `vault proposal create`. */
import { UsageError } from "../errors.ts";
import type { Values } from "./command.ts";

export const authTypes = ["bearer", "basic", "api-key", "custom", "passthrough"] as const;

const authFlags = {
  "auth-type": { type: "string", options: authTypes, description: "How the service authenticates" },
  "token-key": { type: "string", description: "bearer: credential with the token" },
  "username-key": { type: "string", description: "basic: credential with the user name" },
  "password-key": { type: "string", description: "basic: credential with the password" },
  "api-key-key": { type: "string", description: "api-key: credential with the key" },
  "api-key-header": { type: "string", default: "Authorization", description: "api-key: header that carries the key" },
  "api-key-prefix": { type: "string", description: "api-key: text before the key, such as 'Token '" },
  "custom-header": { type: "string", repeatable: true, description: "custom: NAME=TEMPLATE with {{ KEY }} in it" },
} as const;

export const serviceFlags = {
  template: {
    type: "string",
    valueHint: "id",
    completes: "template",
    description: "Start from a template of the catalog; the other flags change it",
  },
  name: { type: "string", description: "Name of the service; derived from the template or the host when absent" },
  host: { type: "string", description: "Host, with port and path pattern if need be: api.example.com:8443/v1/*" },
  ...authFlags,
  substitute: {
    type: "string",
    repeatable: true,
    description: "PLACEHOLDER=KEY@SURFACES: replace a placeholder, in path and query when no surfaces are named",
  },
} as const;

/** Names of those flags, in the order of the help. */
export const serviceFlagNames: readonly string[] = Object.keys(serviceFlags);

export type ServiceFlagValues = Values<typeof serviceFlags>;
type AuthFlagValues = Values<typeof authFlags>;
type AuthFlagName = Exclude<keyof AuthFlagValues, "auth-type">;
type AuthType = (typeof authTypes)[number];

/** Flags of each auth type. */
export const flagsOfAuthType: Readonly<Record<AuthType, readonly AuthFlagName[]>> = {
  bearer: ["token-key"],
  basic: ["username-key", "password-key"],
  "api-key": ["api-key-key", "api-key-header", "api-key-prefix"],
  custom: ["custom-header"],
  passthrough: [],
};
const needed: Partial<Record<AuthType, AuthFlagName>> = {
  bearer: "token-key",
  basic: "username-key",
  "api-key": "api-key-key",
  custom: "custom-header",
};

/**
 * The service that the flags describe by themselves, in the form of the API and without a name when none is given.
 * @throws {UsageError} for a flag that is missing, malformed, or belongs to another auth type.
 */
export function serviceFromFlags(flags: ServiceFlagValues, given: ReadonlySet<string>): Record<string, unknown> {
  return {
    ...(flags.name !== undefined && { name: flags.name }),
    host: flags.host,
    auth: authFromFlags(flags, given),
    ...(flags.substitute.length > 0 && { substitutions: flags.substitute.map(parseSubstitution) }),
  };
}

/** @throws {UsageError} for a flag that is missing or belongs to another type. */
export function authFromFlags(flags: AuthFlagValues, given: ReadonlySet<string>): Record<string, unknown> {
  // The parser has held it to the types that there are.
  const type = flags["auth-type"] as AuthType | undefined;
  if (type === undefined)
    throw new UsageError("auth_type_missing", "--host needs --auth-type", { hint: `one of ${authTypes.join(", ")}` });
  refuseFlagsOfOtherTypes(type, given, `--auth-type ${type}`);
  const key = needed[type];
  if (key && !given.has(key)) throw new UsageError("auth_flag_missing", `--auth-type ${type} needs --${key}`);
  switch (type) {
    case "bearer":
      return { type, token: flags["token-key"] };
    case "basic":
      return withoutUndefined({ type, username: flags["username-key"], password: flags["password-key"] });
    case "api-key": {
      const prefix = flags["api-key-prefix"];
      return withoutUndefined({ type, key: flags["api-key-key"], header: flags["api-key-header"], prefix });
    }
    case "custom":
      return { type, headers: Object.fromEntries(flags["custom-header"].map(parseHeader)) };
    case "passthrough":
      return { type };
  }
}

/**
 * @param what chose the type, for the message: `--auth-type bearer`.
 * @throws {UsageError} `stray_flag`, so that no credential is named in vain.
 */
export function refuseFlagsOfOtherTypes(type: AuthType, given: ReadonlySet<string>, what: string): void {
  const own = flagsOfAuthType[type];
  const stray = Object.values(flagsOfAuthType)
    .flat()
    .find((name) => given.has(name) && !own.includes(name));
  if (stray) throw new UsageError("stray_flag", `--${stray} does not go with ${what}`);
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

function withoutUndefined(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
