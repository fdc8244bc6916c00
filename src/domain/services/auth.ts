/** Each auth type: its fields, the credentials it names and the headers it sets (spec of the API, section 2.2). */
import { InvalidInput } from "../../errors.ts";
import { isCredentialKey } from "../credentials/key.ts";
import { InputObject, quote } from "../input.ts";
import type { Auth, CredentialKey } from "./service.ts";

/** A header as a service sets it, before credentials are put in. */
export interface HeaderTemplate {
  readonly name: string;
  /** @param reveal gives the value of each key of `keys`. */
  readonly render: (reveal: (key: CredentialKey) => string) => string;
  readonly keys: readonly CredentialKey[];
}

const types = ["bearer", "basic", "api-key", "custom", "passthrough"] as const;
const supported = `(supported: ${types.join(", ")})`;

/** Which fields belong to which type, and how a message names them. */
const fieldsOf: Record<Auth["type"], { readonly fields: readonly string[]; readonly say: string }> = {
  bearer: { fields: ["token"], say: "only token" },
  basic: { fields: ["username", "password"], say: "only username, password" },
  "api-key": { fields: ["key", "header", "prefix"], say: "only key, header, prefix" },
  custom: { fields: ["headers"], say: "only headers" },
  passthrough: { fields: [], say: "no credential fields are permitted" },
};
const textFields = ["token", "username", "password", "key", "header", "prefix"] as const;

/** More than any service asks for; the proxy keeps track of them in the bits of a number. */
const maxHeaders = 20;

const headerNamePattern = /^[a-zA-Z0-9-]+$/;
const referencePattern = /\{\{\s*(\w+)\s*\}\}/g;

/**
 * Headers that no service may set: hop-by-hop ones (RFC 9110, section 7.6.1), those that frame or route the message,
 * and the broker's own.
 */
const reservedHeaders: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
  "expect",
  "x-vault",
]);

/** @throws {InvalidInput} naming the field that is wrong. */
export function parseAuth(value: unknown): Auth {
  const input = new InputObject(value, "invalid_service");
  const type = input.string("type") ?? "";
  if (type === "") throw invalid(`type is required ${supported}`);
  if (!isAuthType(type)) throw invalid(`unsupported type ${quote(type)} ${supported}`);
  refuseForeignFields(type, input);
  switch (type) {
    case "bearer":
      return { type, token: requiredKey(input, "token", type) };
    case "basic":
      return parseBasic(input);
    case "api-key":
      return parseApiKey(input);
    case "custom":
      return { type, headers: parseHeaders(input) };
    case "passthrough":
      return { type };
  }
}

/** The wire form; a field that was left out stays out. */
export function formatAuth(auth: Auth): object {
  return { ...auth };
}

/** The credentials that an auth type names, in the order of the specification, each once. */
export function authKeys(auth: Auth): readonly CredentialKey[] {
  return [...new Set(headerTemplates(auth).flatMap((template) => template.keys))];
}

/** The headers that an auth type sets. */
export function headerTemplates(auth: Auth): readonly HeaderTemplate[] {
  switch (auth.type) {
    case "bearer":
      return [{ name: "Authorization", keys: [auth.token], render: (reveal) => `Bearer ${reveal(auth.token)}` }];
    case "basic":
      return [basicTemplate(auth.username, auth.password)];
    case "api-key":
      return [
        {
          name: auth.header ?? "Authorization",
          keys: [auth.key],
          render: (reveal) => `${auth.prefix ?? ""}${reveal(auth.key)}`,
        },
      ];
    case "custom":
      return Object.entries(auth.headers).map(([name, template]) => customTemplate(name, template));
    case "passthrough":
      return [];
  }
}

/** @throws {InvalidInput} for a name that is not a header, or one that only the broker may set. */
export function checkHeaderName(name: string): void {
  if (!headerNamePattern.test(name)) {
    throw invalid(`invalid header name ${quote(name)} — only letters, digits, and hyphens allowed`);
  }
  if (reservedHeaders.has(name.toLowerCase())) {
    throw invalid(`header ${quote(name)} belongs to the connection or the broker and cannot be set`);
  }
}

function isAuthType(text: string): text is Auth["type"] {
  return (types as readonly string[]).includes(text);
}

function refuseForeignFields(type: Auth["type"], input: InputObject): void {
  const { fields, say } = fieldsOf[type];
  const isFilled = (name: string) =>
    name === "headers" ? Object.keys(input.texts(name) ?? {}).length > 0 : (input.string(name) ?? "") !== "";
  const foreign = [...textFields, "headers"].find((name) => !fields.includes(name) && isFilled(name));
  if (foreign !== undefined) throw invalid(`unexpected field ${quote(foreign)} for ${type} auth (${say})`);
}

function parseBasic(input: InputObject): Auth {
  const username = requiredKey(input, "username", "basic");
  const password = optionalKey(input, "password");
  return { type: "basic", username, ...(password !== undefined && { password }) };
}

function parseApiKey(input: InputObject): Auth {
  const key = requiredKey(input, "key", "api-key");
  const header = input.string("header") ?? "";
  if (header !== "") checkHeaderName(header);
  const prefix = input.string("prefix") ?? "";
  checkFieldText(prefix, "prefix");
  return { type: "api-key", key, ...(header !== "" && { header }), ...(prefix !== "" && { prefix }) };
}

function parseHeaders(input: InputObject): Readonly<Record<string, string>> {
  const headers = input.texts("headers") ?? {};
  if (Object.keys(headers).length === 0) throw invalid('"headers" is required for custom auth');
  if (Object.keys(headers).length > maxHeaders)
    throw invalid(`custom auth must not set more than ${maxHeaders} headers`);
  const seen = new Set<string>();
  for (const [name, template] of Object.entries(headers)) {
    checkHeaderName(name);
    if (seen.has(name.toLowerCase())) throw invalid(`header ${quote(name)} is listed more than once`);
    seen.add(name.toLowerCase());
    checkFieldText(template, `header ${quote(name)}`);
    for (const key of referencesIn(template)) {
      if (isCredentialKey(key)) continue;
      throw invalid(`invalid credential key ${quote(key)} in header ${quote(name)} — must be UPPER_SNAKE_CASE`);
    }
  }
  return headers;
}

function requiredKey(input: InputObject, field: string, type: string): CredentialKey {
  const key = optionalKey(input, field);
  if (key === undefined) throw invalid(`${quote(field)} is required for ${type} auth`);
  return key;
}

function optionalKey(input: InputObject, field: string): CredentialKey | undefined {
  const key = input.string(field) ?? "";
  if (key === "") return undefined;
  if (!isCredentialKey(key)) throw invalid(`${field} ${quote(key)} must be UPPER_SNAKE_CASE (e.g. STRIPE_KEY)`);
  return key;
}

/** A line break in configured text would begin another header. */
function checkFieldText(text: string, what: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(text))
    throw invalid(`${what} must not contain line breaks or control characters`);
}

function referencesIn(template: string): readonly CredentialKey[] {
  return [...template.matchAll(referencePattern)].map((match) => match[1] ?? "");
}

function basicTemplate(username: CredentialKey, password: CredentialKey | undefined): HeaderTemplate {
  return {
    name: "Authorization",
    keys: password === undefined ? [username] : [username, password],
    // RFC 7617: user-id and password joined by a colon, as UTF-8.
    render: (reveal) => {
      const pair = `${reveal(username)}:${password === undefined ? "" : reveal(password)}`;
      return `Basic ${Buffer.from(pair).toString("base64")}`;
    },
  };
}

function customTemplate(name: string, template: string): HeaderTemplate {
  return {
    name,
    keys: referencesIn(template),
    render: (reveal) => template.replace(referencePattern, (_, key: string) => reveal(key)),
  };
}

function invalid(message: string): InvalidInput {
  return new InvalidInput("invalid_service", message);
}
