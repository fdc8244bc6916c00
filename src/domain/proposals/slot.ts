/** The credential slots of a proposal: parsed from the wire, and formatted back. The stored form is the same. */
import { Secret } from "../../crypto/secret.ts";
import { InvalidInput } from "../../errors.ts";
import { isCredentialKey } from "../credentials/key.ts";
import { InputObject, quote } from "../input.ts";
import type { CredentialKey } from "../services/service.ts";
import { plainText } from "./plain-text.ts";
import type { OAuthRequest, Slot } from "./proposal.ts";

export interface ParsedSlots {
  readonly slots: readonly Slot[];
  /** Values that the agent supplied, not empty. */
  readonly values: ReadonlyMap<CredentialKey, Secret>;
}

export const maxSlots = 10;
const maxNoteBytes = 500;
const maxInstructionBytes = 1000;

/** @throws {InvalidInput} `invalid_proposal`, naming the first slot that is wrong. */
export function parseSlots(list: readonly unknown[]): ParsedSlots {
  if (list.length > maxSlots) throw invalid(`too many credential slots (max ${maxSlots})`);
  const slots: Slot[] = [];
  const values = new Map<CredentialKey, Secret>();
  for (const item of list) {
    const { slot, value } = parseSlot(new InputObject(item, "invalid_proposal"));
    if (slots.some(({ key }) => key === slot.key)) throw invalid(`duplicate credential slot key ${quote(slot.key)}`);
    slots.push(slot);
    if (value !== undefined) values.set(slot.key, value);
  }
  return { slots, values };
}

/** @throws when it is not what `formatSlot` wrote. */
export function readSlot(stored: unknown): Slot {
  const input = new InputObject(stored, "invalid_proposal");
  const { slot } = parseSlot(input);
  // Only the server writes the stored form, so there the flag is believed.
  return slot.action === "set" && slot.type !== "oauth"
    ? { ...slot, hasValue: input.boolean("has_value") === true }
    : slot;
}

/** The wire form; it never holds a value. */
export function formatSlot(slot: Slot): Record<string, unknown> {
  const { action, key, description, obtain, obtainInstructions } = slot;
  return {
    action,
    key,
    ...(slot.action === "set" && slot.type !== undefined && { type: slot.type }),
    ...(description !== undefined && { description }),
    ...(obtain !== undefined && { obtain }),
    ...(obtainInstructions !== undefined && { obtain_instructions: obtainInstructions }),
    ...(slot.action === "set" && slot.type !== "oauth" && slot.hasValue && { has_value: true }),
    ...(slot.action === "set" && slot.type === "oauth" && { oauth: formatOAuth(slot.oauth) }),
  };
}

function parseSlot(input: InputObject): { readonly slot: Slot; readonly value: Secret | undefined } {
  const action = input.string("action") ?? "";
  if (action !== "set" && action !== "delete") {
    throw invalid(`credential slot: invalid action ${quote(action)} (must be "set" or "delete")`);
  }
  const key = input.string("key") ?? "";
  if (key === "") throw invalid("credential slot key is required");
  if (!isCredentialKey(key)) {
    throw invalid(`credential slot key ${quote(key)} must be UPPER_SNAKE_CASE (e.g. STRIPE_KEY, GITHUB_TOKEN)`);
  }
  const where = `credential slot ${quote(key)}`;
  const notes = { key, ...parseNotes(input, where) };
  const type = input.string("type") ?? "";
  if (type !== "" && type !== "static" && type !== "oauth") {
    throw invalid(`${where}: unsupported type ${quote(type)} (supported: static, oauth)`);
  }
  const text = input.string("value") ?? "";
  if (action === "delete") {
    if (text !== "") throw invalid(`${where}: "value" must not be set where the credential is deleted`);
    return { slot: { action, ...notes }, value: undefined };
  }
  if (type === "oauth") {
    if (text !== "") {
      throw invalid(
        `${where}: "value" must not be set for oauth credentials (tokens are obtained via the connect flow)`,
      );
    }
    return { slot: { action, ...notes, type, oauth: parseOAuth(input.value("oauth"), where) }, value: undefined };
  }
  const slot: Slot = { action: "set", ...notes, ...(type === "static" && { type: "static" }), hasValue: text !== "" };
  return { slot, value: text === "" ? undefined : new Secret(text) };
}

function parseNotes(input: InputObject, where: string) {
  const text = (field: string, maxBytes: number) =>
    plainText(input.string(field) ?? "", `${where}: ${field}`, maxBytes);
  const description = text("description", maxNoteBytes);
  const obtain = text("obtain", maxNoteBytes);
  if (obtain !== "" && !isWebAddress(obtain)) throw invalid(`${where}: obtain must be a valid https:// or http:// URL`);
  const obtainInstructions = text("obtain_instructions", maxInstructionBytes);
  return {
    ...(description !== "" && { description }),
    ...(obtain !== "" && { obtain }),
    ...(obtainInstructions !== "" && { obtainInstructions }),
  };
}

function parseOAuth(value: unknown, where: string): OAuthRequest {
  if (value === undefined) throw invalid(`${where}: "oauth" config is required when type is "oauth"`);
  const input = new InputObject(value, "invalid_proposal", `${where}: oauth: `);
  const tokenUrl = input.string("token_url") ?? "";
  if (tokenUrl === "") throw invalid(`${where}: oauth.token_url is required`);
  const authorizationUrl = input.string("authorization_url") ?? "";
  for (const [field, url] of [
    ["token_url", tokenUrl],
    ["authorization_url", authorizationUrl],
  ] as const) {
    if (url !== "" && !isWebAddress(url)) throw invalid(`${where}: oauth.${field} must be an https:// or http:// URL`);
  }
  const tokenAuthMethod = input.string("token_auth_method") ?? "";
  if (tokenAuthMethod !== "" && tokenAuthMethod !== "client_secret_post" && tokenAuthMethod !== "client_secret_basic") {
    throw invalid(`${where}: oauth.token_auth_method must be "client_secret_post" or "client_secret_basic"`);
  }
  const text = (field: string) => plainText(input.string(field) ?? "", `${where}: oauth.${field}`, maxInstructionBytes);
  const [clientId, scopes, scopeSeparator] = [text("client_id"), text("scopes"), text("scope_separator")];
  return {
    tokenUrl,
    ...(authorizationUrl !== "" && { authorizationUrl }),
    ...(clientId !== "" && { clientId }),
    ...(scopes !== "" && { scopes }),
    ...(scopeSeparator !== "" && { scopeSeparator }),
    ...(input.boolean("disable_pkce") === true && { disablePkce: true }),
    ...(tokenAuthMethod !== "" && { tokenAuthMethod }),
  };
}

function formatOAuth(oauth: OAuthRequest): object {
  return {
    ...(oauth.authorizationUrl !== undefined && { authorization_url: oauth.authorizationUrl }),
    token_url: oauth.tokenUrl,
    ...(oauth.clientId !== undefined && { client_id: oauth.clientId }),
    ...(oauth.scopes !== undefined && { scopes: oauth.scopes }),
    ...(oauth.scopeSeparator !== undefined && { scope_separator: oauth.scopeSeparator }),
    ...(oauth.disablePkce === true && { disable_pkce: true }),
    ...(oauth.tokenAuthMethod !== undefined && { token_auth_method: oauth.tokenAuthMethod }),
  };
}

/**
 * People click on it: no other scheme, no blank or control character that a parser would drop, and no user name that
 * looks like the host (`https://github.com@evil.example`).
 */
function isWebAddress(text: string): boolean {
  if (!/^https?:\/\/[^\s\p{Cc}\\]+$/iu.test(text) || !URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  return /^https?:$/.test(protocol) && hostname !== "" && username === "" && password === "";
}

function invalid(message: string): InvalidInput {
  return new InvalidInput("invalid_proposal", message);
}
