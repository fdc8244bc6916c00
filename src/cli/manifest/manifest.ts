/**
 * Vaults as a file that people review: services, settings and grants, and the names of the credentials that are
 * needed. Never a value of a credential. `export` writes it, `apply` reads it.
 */
import { stringify } from "yaml";
import { InvalidInput } from "../../errors.ts";
import { type Located, parseLocatedYaml } from "../located-yaml.ts";
import { refuseUnknownFields } from "../service-file.ts";
import type { ServiceRules } from "./service-rules.ts";

/** A service in the API's form. */
export type WireService = Readonly<Record<string, unknown>> & { readonly name: string };

/** A section that is not there is left as it is on the server. */
export interface VaultManifest {
  readonly name: string;
  readonly settings?: Readonly<Record<string, string>>;
  readonly services?: readonly WireService[];
  readonly users?: readonly { readonly email: string; readonly role: string }[];
  readonly agents?: readonly { readonly name: string; readonly role: string }[];
  /** Names that must be stored for the services to work. */
  readonly credentials?: readonly string[];
}

/** Each setting of a vault, with its values. */
export const settingValues: Readonly<Record<string, readonly string[]>> = {
  unmatched_host_policy: ["passthrough", "deny"],
};
const sections = ["name", "settings", "services", "users", "agents", "credentials"] as const;

/** @throws {InvalidInput} naming the file and the line of the first mistake. */
export function parseManifest(text: string, source: string, rules: ServiceRules): readonly VaultManifest[] {
  const root = parseLocatedYaml(text, source);
  if (root.isMissing) throw root.wrong("manifest_empty", "the file is empty", "agent-vault export");
  const list = root.fields("the document", ["vaults"]).get("vaults");
  if (!list) throw root.wrong("manifest_empty", 'there is no list "vaults"', "agent-vault export");
  const vaults = list.items("vaults");
  if (vaults.length === 0) throw list.wrong("manifest_empty", 'the list "vaults" is empty');
  return distinct(
    vaults,
    "vault",
    (place) => parseVault(place, rules),
    (vault) => vault.name,
  );
}

function parseVault(place: Located, rules: ServiceRules): VaultManifest {
  const fields = place.fields("a vault", sections);
  const name = required(place, fields, "name").text("name");
  const problem = rules.nameProblem(name);
  if (problem !== undefined) throw place.wrong("bad_vault_name", `the vault's name "${name.slice(0, 80)}" ${problem}`);
  const listed = <T>(
    section: (typeof sections)[number],
    parse: (item: Located) => T,
    nameOf: (value: T) => string,
  ): readonly T[] | undefined => {
    const found = fields.get(section);
    return found && distinct(found.items(section), section, parse, nameOf);
  };
  const settings = fields.get("settings");
  return withoutUndefined({
    name,
    settings: settings && parseSettings(settings),
    services: listed(
      "services",
      (item) => parseService(item, rules),
      (service) => service.name,
    ),
    users: listed("users", parseUser, (user) => user.email),
    agents: listed("agents", parseAgent, (agent) => agent.name),
    credentials: listed(
      "credentials",
      (item) => parseKey(item, rules),
      (key) => key,
    ),
  });
}

function parseSettings(place: Located): Readonly<Record<string, string>> {
  const fields = place.fields("settings", Object.keys(settingValues));
  return Object.fromEntries([...fields].map(([name, value]) => [name, value.text(name, settingValues[name])]));
}

function parseService(place: Located, rules: ServiceRules): WireService {
  refuseUnknownFields(place);
  const { port, description: _, ...rest } = place.value() as Record<string, unknown>;
  const service = port === undefined ? rest : { ...rest, host: `${rest.host}:${port}` };
  try {
    return rules.canonical(service);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    throw place.wrong(error.code, `this service is not valid: ${error.message}`, error.hint);
  }
}

function parseUser(place: Located) {
  const fields = place.fields("a user", ["email", "role"]);
  const email = required(place, fields, "email").text("email").trim().toLowerCase();
  return { email, role: required(place, fields, "role").text("role", ["member", "admin"]) };
}

function parseAgent(place: Located) {
  const fields = place.fields("an agent", ["name", "role"]);
  const name = required(place, fields, "name").text("name");
  return { name, role: required(place, fields, "role").text("role", ["proxy", "member", "admin"]) };
}

function parseKey(place: Located, rules: ServiceRules): string {
  const key = place.text("the name of a credential");
  if (rules.isCredentialKey(key)) return key;
  // What is no name may be a value that somebody pasted: it is not repeated.
  throw place.wrong("bad_credential_key", "credentials are names such as STRIPE_KEY, never values");
}

function required(place: Located, fields: ReadonlyMap<string, Located>, name: string): Located {
  const found = fields.get(name);
  if (found) return found;
  throw place.wrong("field_missing", `the field "${name}" is missing`);
}

function distinct<T>(
  places: readonly Located[],
  what: string,
  parse: (place: Located) => T,
  nameOf: (value: T) => string,
): readonly T[] {
  const seen = new Set<string>();
  return places.map((place) => {
    const value = parse(place);
    const name = nameOf(value);
    if (seen.has(name)) throw place.wrong("listed_twice", `"${name}" is listed twice in ${what}`);
    seen.add(name);
    return value;
  });
}

/** The file for these vaults. Sorted where order means nothing, so that two exports of the same are the same text. */
export function formatManifest(vaults: readonly VaultManifest[]): string {
  return stringify({ vaults }, { lineWidth: 0, aliasDuplicateObjects: false });
}

function withoutUndefined<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const kept = Object.entries(record).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as { [K in keyof T]: Exclude<T[K], undefined> };
}
