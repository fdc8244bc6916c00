/** What a proposal asks for: from the flags of the command line, a template of the catalog, or a JSON file. */
import type { Client } from "../client/client.ts";
import type { Template } from "../client/wire.ts";
import { InvalidInput, UsageError } from "../errors.ts";
import type { CliContext } from "./command.ts";
import type { WireService } from "./manifest/manifest.ts";
import { loadServiceRules } from "./manifest/service-rules.ts";
import { deriveName } from "./service-file.ts";
import { type ServiceFlagValues, serviceFlagNames, serviceFromFlags } from "./service-flags.ts";
import { getTemplate, serviceFromTemplate } from "./service-template.ts";
import { readTextFile } from "./text-file.ts";

export interface ContentFlags extends ServiceFlagValues {
  readonly credential: readonly string[];
}

/** Flags that a file makes superfluous: it has all of it. */
const contentFlags = [...serviceFlagNames, "credential"];

/** Looks at the flags alone, before a server is asked anything. @throws {UsageError} */
export function refuseIncomplete(flags: ContentFlags, given: ReadonlySet<string>): void {
  for (const credential of flags.credential) parseCredential(credential);
  if (flags.template !== undefined) return;
  if (flags.host !== undefined) {
    serviceFromFlags(flags, given);
    return;
  }
  const stray = serviceFlagNames.find((name) => given.has(name));
  if (stray) throw new UsageError("host_missing", `--${stray} needs --host`, { hint: "--host api.example.com" });
  if (flags.credential.length > 0) return;
  throw new UsageError("proposal_empty", "Nothing is asked for: give --template, --host, --credential or --file", {
    hint: "--host api.example.com --auth-type bearer --token-key EXAMPLE_TOKEN --credential EXAMPLE_TOKEN",
  });
}

/** `services` and `credentials` of the body. @throws {UsageError} @throws {NotFound} `template_not_found`. */
export async function contentFromFlags(
  client: Client,
  vault: string,
  { flags, given }: { readonly flags: ContentFlags; readonly given: ReadonlySet<string> },
): Promise<Record<string, unknown>> {
  const slots = flags.credential.map(parseCredential);
  if (flags.template === undefined && flags.host === undefined) return { credentials: slots };
  const { services, available_credentials: stored } = await client.discover(vault);
  const template = flags.template === undefined ? undefined : await getTemplate(client, flags.template);
  const described = template ? serviceFromTemplate(template, flags, given) : serviceFromFlags(flags, given);
  const service = { action: "set", ...withName(described, services ?? [], template?.id) };
  const known = new Set([...(stored ?? []), ...slots.map(({ key }) => key)]);
  const all = [...slots, ...(template ? await slotsOf(template, service, known) : [])];
  return { services: [service], ...(all.length > 0 && { credentials: all }) };
}

/**
 * The server gives a service without a name that of the only one with the same host. Where there is none, the name is
 * made from the template or the host.
 */
function withName(
  service: Record<string, unknown>,
  existing: readonly { readonly name: string; readonly host: string }[],
  base: string | undefined,
): Record<string, unknown> {
  if (service.name !== undefined) return service;
  const host = String(service.host);
  if (existing.filter((other) => other.host === host.toLowerCase()).length === 1) return service;
  return { name: deriveName(base ?? host, new Set(existing.map((other) => other.name))), ...service };
}

/** Slots for the credentials that a service from a template needs and the vault does not have. */
async function slotsOf(
  { name, docs }: Template,
  service: Record<string, unknown>,
  known: ReadonlySet<string>,
): Promise<readonly Record<string, string>[]> {
  const { action: _, ...plain } = service;
  // The rules want a name; where the server is to find it, any will do.
  const keys = (await loadServiceRules()).neededKeys([{ name: "unnamed", ...plain } as WireService]);
  return keys
    .filter((key) => !known.has(key))
    .map((key) => ({ action: "set", key, description: `For ${name}`, ...(docs && { obtain: docs }) }));
}

function parseCredential(text: string): Record<string, string> & { readonly key: string } {
  const [, key, description] = /^([A-Z][A-Z0-9_]*)(?:=(.*))?$/s.exec(text) ?? [];
  if (key === undefined) {
    throw new UsageError("bad_credential", "--credential should be KEY or KEY=DESCRIPTION", {
      hint: "--credential 'GITHUB_TOKEN=token with read access'",
    });
  }
  return { action: "set", key, ...(description && { description }) };
}

/** @throws {UsageError} for flags beside the file. @throws {InvalidInput} unless it holds a JSON object. */
export async function contentOfFile(
  context: CliContext,
  file: string,
  given: ReadonlySet<string>,
): Promise<Record<string, unknown>> {
  const stray = contentFlags.find((name) => given.has(name));
  if (stray) throw new UsageError("file_and_flags", `--file and --${stray} exclude each other`);
  const shown = file === "-" ? "Standard input" : file;
  let value: unknown;
  try {
    value = JSON.parse(await readTextFile(context, file));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new InvalidInput("bad_json", `${shown} is not valid JSON`, { cause });
  }
  // An object, so its fields may be looked up.
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new InvalidInput("bad_json", `${shown} should hold a JSON object`);
}
