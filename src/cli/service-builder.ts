/** Services made by questions, for somebody at a terminal: `vault service set` and `add` without a file. */
import type { Client } from "../client/client.ts";
import type { Template, WireService } from "../client/wire.ts";
import { AppError } from "../errors.ts";
import type { CliContext } from "./command.ts";
import { confirm } from "./confirm.ts";
import { pick } from "./connect.ts";
import { loadServiceRules, type ServiceRules } from "./manifest/service-rules.ts";
import { note, printable, warn } from "./output.ts";
import { deriveName, formatServiceFile } from "./service-file.ts";
import { authTypes, parseSubstitution } from "./service-flags.ts";
import { needsHost } from "./service-template.ts";

export interface BuiltServices {
  readonly services: readonly Record<string, unknown>[];
  /** They take the place of all that there are, in the state with this tag. */
  readonly replaces: boolean;
  readonly tag: string | undefined;
}

interface BuilderOptions {
  readonly client: Client;
  readonly vault: string;
  /** `add` never replaces. */
  readonly canReplace: boolean;
}

const instead = "-f FILE, or --host and the flags of its auth type";

/** Undefined when the person declines; a notice has then been printed. Nothing is sent from here. */
export async function buildServices(context: CliContext, options: BuilderOptions): Promise<BuiltServices | undefined> {
  const { client, vault, canReplace } = options;
  const { terminal } = context;
  const [{ services: existing, tag }, { keys }, { services: templates }, rules] = await Promise.all([
    client.listTaggedServices(vault),
    client.listCredentials(vault),
    client.catalog(),
    loadServiceRules(),
  ]);
  note(terminal, `Services of the vault "${vault}". Nothing changes before you agree. (Ctrl-C leaves.)`);
  const replaces = canReplace && existing.length > 0 && (await asksToReplace(context, existing));
  const built: Record<string, unknown>[] = [];
  do {
    const others = replaces ? built : [...existing, ...built];
    built.push(await askService(context, { others, templates, keys: keys ?? [], rules }));
  } while (await isYes(context, "Another service?"));
  warnAboutKeys(context, built, { keys: keys ?? [], rules, vault });
  note(terminal, "");
  terminal.err(printable(formatServiceFile(vault, built)));
  const question = replaces ? `Replace all services of "${vault}" by these?` : `Add to the vault "${vault}"?`;
  return (await confirm(context, question, false)) ? { services: built, replaces, tag } : undefined;
}

async function asksToReplace(context: CliContext, existing: readonly WireService[]): Promise<boolean> {
  note(context.terminal, `It has ${existing.map(({ name }) => name).join(", ")}.`);
  const replace = "Replace them";
  return (await pick(context, "New services", ["Add to them", replace], instead)) === replace;
}

interface Surroundings {
  readonly others: readonly Record<string, unknown>[];
  readonly templates: readonly Template[];
  readonly keys: readonly string[];
  readonly rules: ServiceRules;
}

/** Asks again from the start when what was said does not make a service. */
async function askService(context: CliContext, surroundings: Surroundings): Promise<Record<string, unknown>> {
  for (;;) {
    try {
      const service = await askFields(context, surroundings);
      return { ...surroundings.rules.canonical(service) };
    } catch (error) {
      // Without an answer there is nobody to ask again.
      if (!(error instanceof AppError) || error.code === "no_answer" || error.code === "no_terminal") throw error;
      warn(context.terminal, `${error.message}; once more`);
    }
  }
}

async function askFields(context: CliContext, { others, templates, keys }: Surroundings) {
  const { terminal } = context;
  const start = await askText(context, "Host, or the ID of a template of the catalog");
  const template = templates.find(({ id }) => id === start);
  const host = template ? await askHostOf(context, template) : start;
  if (/\s/.test(host) || !host.includes(".")) warn(terminal, `"${host}" does not look like a host`);
  const twin = others.find((other) => String(other.host).toLowerCase() === host.toLowerCase());
  if (twin) warn(terminal, `the service "${twin.name}" has the same host`);
  const taken = new Set(others.map(({ name }) => String(name)));
  const name = await askText(context, "Name", taken.has(start) ? undefined : (template?.id ?? deriveName(host, taken)));
  if (taken.has(name)) warn(terminal, `this takes the place of the service "${name}"`);
  const auth = await askAuth(context, template, keys);
  const substitutions = template ? (template.substitutions ?? []) : await askSubstitutions(context);
  return {
    ...{ name, host, auth },
    ...(substitutions.length > 0 && { substitutions }),
    ...(template?.strip_headers && { strip_headers: template.strip_headers }),
  };
}

async function askHostOf(context: CliContext, template: Template): Promise<string> {
  if (!needsHost(template)) return template.host;
  return askText(context, `Your host in ${template.host}`);
}

async function askAuth(context: CliContext, template: Template | undefined, keys: readonly string[]) {
  const type = template?.auth_type ?? (await pick(context, "Authentication", authTypes, instead));
  const key = (what: string, fallback?: string) => askKey(context, what, { keys, fallback });
  const suggested = template?.suggested_credential_key;
  switch (type) {
    case "bearer":
      return { type, token: await key("Credential with the token", suggested) };
    case "basic": {
      const username = await key("Credential with the user name", template?.suggested_username_key);
      const password = await askText(context, "Credential with the password, - for none", suggested);
      return { type, username, ...(password === "-" ? {} : { password }) };
    }
    case "api-key": {
      const header = await askText(context, "Header", template?.header ?? "Authorization");
      const prefix = template?.prefix ?? (await askOptional(context, "Text before the key, such as 'Token '"));
      return { type, key: await key("Credential with the key", suggested), header, ...(prefix ? { prefix } : {}) };
    }
    case "custom":
      return { type, headers: template?.headers ?? (await askHeaders(context, keys)) };
    default:
      return { type };
  }
}

/** What usually stands around a credential in `Authorization`. */
const authorizationForms = ["Bearer {{ KEY }}", "token {{ KEY }}", "Basic {{ KEY }}", "{{ KEY }}"];

async function askHeaders(context: CliContext, keys: readonly string[]): Promise<Record<string, string>> {
  const { isCredentialKey } = await loadServiceRules();
  if (keys.length > 0) note(context.terminal, `  stored: ${keys.join(", ")}`);
  const headers: Record<string, string> = {};
  for (;;) {
    const isFirst = Object.keys(headers).length === 0;
    const name = isFirst ? await askText(context, "Header") : await askOptional(context, "Another header");
    if (name === "") return headers;
    const value = await askText(context, `Value of ${name}: a credential, or text with {{ KEY }} in it`);
    if (!isCredentialKey(value)) headers[name] = value;
    else if (name.toLowerCase() !== "authorization") headers[name] = `{{ ${value} }}`;
    else {
      const forms = authorizationForms.map((form) => form.replace("KEY", value));
      headers[name] = await pick(context, `Value of ${name}`, forms, instead);
    }
  }
}

async function askSubstitutions(context: CliContext): Promise<readonly Record<string, unknown>[]> {
  const found: Record<string, unknown>[] = [];
  for (;;) {
    const text = await askOptional(context, "Placeholder to replace, as __name__=KEY@path,query");
    if (text === "") return found;
    found.push(parseSubstitution(text));
  }
}

async function askKey(
  context: CliContext,
  what: string,
  { keys, fallback }: { readonly keys: readonly string[]; readonly fallback: string | undefined },
): Promise<string> {
  if (keys.length > 0) note(context.terminal, `  stored: ${keys.join(", ")}`);
  return (await askText(context, what, fallback)).toUpperCase();
}

async function askText({ terminal }: CliContext, what: string, fallback?: string): Promise<string> {
  for (;;) {
    const answer = (await terminal.ask(`${what}${fallback ? ` [${fallback}]` : ""}: `, instead)).trim();
    if (answer || fallback) return answer || (fallback ?? "");
  }
}

/** Not trimmed: a prefix may end with a space. */
async function askOptional({ terminal }: CliContext, what: string): Promise<string> {
  const answer = await terminal.ask(`${what} (empty for none): `, instead);
  return answer.trim() === "" ? "" : answer.trimStart();
}

async function isYes({ terminal }: CliContext, question: string): Promise<boolean> {
  return /^y(es)?$/i.test((await terminal.ask(`${question} [y/N] `, instead)).trim());
}

function warnAboutKeys(
  { terminal }: CliContext,
  services: readonly Record<string, unknown>[],
  { keys, rules, vault }: { readonly keys: readonly string[]; readonly rules: ServiceRules; readonly vault: string },
): void {
  const missing = rules.neededKeys(services as never).filter((key) => !keys.includes(key));
  if (missing.length === 0) return;
  warn(
    terminal,
    `not stored yet: ${missing.join(", ")}; agent-vault vault credential set ${missing[0]} --vault ${vault}`,
  );
}
