import type { Client } from "../../client/client.ts";
import { Conflict, NotFound, UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm, orAborted } from "../confirm.ts";
import { asAnyone, asPerson, resolveVault } from "../connect.ts";
import type { WireService } from "../manifest/manifest.ts";
import { loadServiceRules } from "../manifest/service-rules.ts";
import { formatTime, note, printable, printJson, printTable, success } from "../output.ts";
import { deriveName, formatServiceFile, parseServiceFile } from "../service-file.ts";
import { type ServiceFlagValues, serviceFlagNames, serviceFlags, serviceFromFlags } from "../service-flags.ts";
import { getTemplate, serviceFromTemplate } from "../service-template.ts";
import { readTextFile } from "../text-file.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };
const reference = {
  type: "positional",
  completes: "service",
  description: "Name of the service, or a host that only it has",
} as const;

const list = command({
  meta: { name: "list", description: "Print the services as YAML, which service set -f reads back" },
  args: { json: jsonFlag, table: { type: "boolean", description: "Print a table" } },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asAnyone(context, {}, (client) => client.listServices(vault));
    const services = answer.services ?? [];
    if (args.json) return printJson(context.terminal, answer);
    if (!args.table && services.length > 0) return context.terminal.out(printable(formatServiceFile(vault, services)));
    printTable(context.terminal, {
      head: ["NAME", "HOST", "AUTH", "ENABLED"],
      rows: services.map((service) => [
        service.name,
        service.host,
        service.auth?.type ?? "-",
        service.enabled === false ? "no" : "yes",
      ]),
      empty: `The vault "${vault}" has no services.`,
    });
  },
});

const add = command({
  meta: {
    name: "add",
    description: "Add a service, or replace the one of that name",
    details:
      "The keys are names of credentials, never values. --template takes host and authentication from the catalog.\n" +
      "At a terminal, without flags, it asks.",
    usage: "[flags]",
    examples: [
      "agent-vault vault service add --template stripe",
      "agent-vault vault service add --template jira --host yours.atlassian.net",
      "agent-vault vault service add --name github --host api.github.com --auth-type bearer --token-key GITHUB_TOKEN",
      "agent-vault vault service add --host 'api.example.com/v1/*' --auth-type api-key --api-key-key EXAMPLE_KEY --api-key-header X-Api-Key",
      "agent-vault vault service add -f services.yaml",
    ],
  },
  args: {
    file: {
      type: "string",
      alias: "f",
      completes: "file",
      description: "YAML with services to add; - is standard input",
    },
    ...serviceFlags,
    scrub: {
      type: "string",
      options: ["off", "detect", "redact", "block"],
      description: "What happens to credentials in answers",
      shownDefault: "the vault's setting",
    },
    scheme: {
      type: "string",
      repeatable: true,
      description: "Where requests may go: https, http",
      shownDefault: "https",
    },
    method: { type: "string", repeatable: true, description: "A method that requests may have", shownDefault: "any" },
    "strip-header": { type: "string", repeatable: true, description: "A header to remove from requests" },
    "set-cookie": {
      type: "string",
      options: ["strip", "pass"],
      description: "What happens to cookies in answers",
      shownDefault: "strip where something is injected",
    },
    raw: {
      type: "boolean",
      description: "Leave tunnels to the host alone, for clients that pin its certificate: no credential, nothing seen",
    },
    disabled: { type: "boolean", description: "Add it switched off" },
    description: { type: "string", description: "Accepted for compatibility; not stored" },
    json: jsonFlag,
  },
  async run({ args, given, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const stray = [...serviceFlagNames, ...switchNames].find((name) => given.has(name));
    if (args.file !== undefined && stray) {
      throw new UsageError("file_and_flags", `--file and --${stray} exclude each other`);
    }
    if (args.template !== undefined) return addFromTemplate(context, vault, { id: args.template, args, given });
    if (args.file === undefined && args.host === undefined) {
      if (context.terminal.isInteractive && !stray)
        return build(context, vault, { canReplace: false, isJson: args.json });
      throw new UsageError("service_missing", "None of --template, --host and --file is given", {
        hint: "--template stripe, or --host api.example.com --auth-type bearer --token-key EXAMPLE_TOKEN",
      });
    }
    const services =
      args.file === undefined
        ? [withSwitches(serviceFromFlags(withAuthOfRaw(args), given), args)]
        : await readServices(context, args.file);
    const answer = await asPerson(context, {}, async (client) =>
      client.upsertServices(vault, await withNames(client, vault, services)),
    );
    printUpserted(context, vault, { answer, isJson: args.json });
  },
});

interface AddArgs extends ServiceFlagValues {
  readonly disabled: boolean;
  readonly scrub: string | undefined;
  readonly scheme: readonly string[];
  readonly method: readonly string[];
  readonly "strip-header": readonly string[];
  readonly "set-cookie": string | undefined;
  readonly raw: boolean;
  readonly json: boolean;
}

/** Flags of `add` alone that describe one service, so that they do not go with a file of several. */
const switchNames = ["scrub", "scheme", "method", "strip-header", "set-cookie", "raw", "disabled"];

/** A raw tunnel carries no credential. */
function withAuthOfRaw(args: AddArgs): AddArgs {
  return args.raw ? { ...args, "auth-type": args["auth-type"] ?? "passthrough" } : args;
}

async function addFromTemplate(
  context: CliContext,
  vault: string,
  { id, args, given }: { readonly id: string; readonly args: AddArgs; readonly given: ReadonlySet<string> },
): Promise<void> {
  const { answer, template, missing } = await asPerson(context, {}, async (client) => {
    const template = await getTemplate(client, id);
    const service = withSwitches(serviceFromTemplate(template, args, given), args);
    const named = await withNames(client, vault, [service], id);
    const answer = await client.upsertServices(vault, named);
    const { keys } = await client.listCredentials(vault);
    const needed = (await loadServiceRules()).neededKeys(named as readonly WireService[]);
    return { answer, template, missing: needed.filter((key) => !keys?.includes(key)) };
  });
  printUpserted(context, vault, { answer, isJson: args.json });
  if (missing.length === 0) return;
  note(context.terminal, `Not stored yet: ${missing.join(", ")}${template.docs ? ` (${template.docs})` : ""}`);
  note(context.terminal, `try:   agent-vault vault credential set ${missing.join(" ")} --vault ${vault}`);
}

function withSwitches(service: Record<string, unknown>, flags: AddArgs): Record<string, unknown> {
  const { disabled, scrub, scheme, method, raw, "strip-header": stripped, "set-cookie": cookies } = flags;
  return {
    ...service,
    ...(disabled && { enabled: false }),
    ...(scrub !== undefined && { scrub }),
    ...(scheme.length > 0 && { schemes: scheme }),
    ...(method.length > 0 && { methods: method }),
    ...(stripped.length > 0 && { strip_headers: stripped }),
    ...(cookies !== undefined && { set_cookie: cookies }),
    ...(raw && { raw: true }),
  };
}

function printUpserted(
  { terminal }: CliContext,
  vault: string,
  { answer, isJson }: { readonly answer: { readonly upserted: readonly string[] }; readonly isJson: boolean },
): void {
  if (isJson) printJson(terminal, answer);
  else for (const name of answer.upserted) success(terminal, `Service "${name}" is in the vault "${vault}"`);
}

/**
 * A service without a name takes that of the only one with its host, else one made from `base` or its host that none
 * has yet: adding must not take the place of a service that merely has the same name.
 */
async function withNames(
  client: Client,
  vault: string,
  services: readonly Record<string, unknown>[],
  base?: string,
): Promise<readonly Record<string, unknown>[]> {
  if (services.every((service) => service.name !== undefined)) return services;
  const existing = (await client.listServices(vault)).services ?? [];
  const taken = new Set([...existing, ...services].map((service) => String(service.name ?? "")));
  return services.map((service) => {
    if (service.name !== undefined) return service;
    const host = String(service.host ?? "");
    const same = existing.filter((other) => other.host.toLowerCase() === host.toLowerCase());
    const name = same.length === 1 && same[0] ? same[0].name : deriveName(base ?? host, taken);
    taken.add(name);
    return { name, ...service };
  });
}

const set = command({
  meta: {
    name: "set",
    description: "Replace all services by those of a YAML file; at a terminal, without a file, by questions",
    usage: "-f <file> [flags]",
    examples: ["agent-vault vault service list > services.yaml", "agent-vault vault service set -f services.yaml"],
  },
  args: {
    file: { type: "string", alias: "f", completes: "file", description: "YAML with all services; - is standard input" },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    if (args.file === undefined) {
      if (context.terminal.isInteractive) return build(context, vault, { canReplace: true, isJson: args.json });
      throw new UsageError("file_missing", "agent-vault vault service set needs --file", { hint: "-f services.yaml" });
    }
    const services = await readServices(context, args.file);
    const answer = await asPerson(context, {}, (client) => client.replaceServices(vault, services));
    if (args.json) return printJson(context.terminal, answer);
    success(
      context.terminal,
      `The vault "${vault}" has ${services.length} service${services.length === 1 ? "" : "s"} now`,
    );
  },
});

/** By questions. The tag keeps a replacement from undoing what somebody else did meanwhile. */
async function build(
  context: CliContext,
  vault: string,
  { canReplace, isJson }: { readonly canReplace: boolean; readonly isJson: boolean },
): Promise<void> {
  const { buildServices } = await import("../service-builder.ts");
  const built = await orAborted(context, () =>
    asPerson(context, {}, (client) => buildServices(context, { client, vault, canReplace })),
  );
  if (!built) return;
  const { services, replaces, tag } = built;
  const answer = await asPerson(context, {}, (client) =>
    replaces ? client.replaceServices(vault, services, tag) : client.upsertServices(vault, services),
  );
  if (isJson) return printJson(context.terminal, answer);
  for (const { name } of services) success(context.terminal, `Service "${name}" is in the vault "${vault}"`);
}

async function readServices(context: CliContext, file: string): Promise<readonly Record<string, unknown>[]> {
  return parseServiceFile(await readTextFile(context, file), file === "-" ? "standard input" : file);
}

const switchTo = (enabled: boolean) =>
  command({
    meta: {
      name: enabled ? "enable" : "disable",
      description: enabled ? "Let agents call a service again" : "Refuse requests to a service, and keep it",
    },
    args: { "name-or-host": reference, json: jsonFlag },
    async run({ args, context }) {
      const vault = await resolveVault(context, (args as VaultArgs).vault);
      const answer = await withCandidates(context, vault, () =>
        asPerson(context, {}, (client) => client.switchService(vault, args["name-or-host"], enabled)),
      );
      if (args.json) return printJson(context.terminal, answer);
      success(context.terminal, `Service "${answer.name}" (${answer.host}) is ${enabled ? "enabled" : "disabled"}`);
    },
  });
const enable = switchTo(true);
const disable = switchTo(false);

const remove = command({
  meta: { name: "remove", description: "Remove a service" },
  args: { "name-or-host": reference, yes: yesFlag, json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const service = args["name-or-host"];
    if (!(await confirm(context, `Remove the service "${service}" from the vault "${vault}"?`, args.yes))) return;
    const answer = await withCandidates(context, vault, () =>
      asPerson(context, {}, (client) => client.removeService(vault, service)),
    );
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `Service "${answer.removed}" removed`);
  },
});

/** Names the candidates when a host belongs to several services, and what there is when nothing fits. */
async function withCandidates<T>(context: CliContext, vault: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NotFound && !error.hint) {
      const { services } = await asPerson(context, {}, (client) => client.listServices(vault));
      const names = (services ?? []).map(({ name }) => name);
      const hint = names.length > 0 ? `one of ${names.slice(0, 12).join(", ")}` : "agent-vault vault service add";
      throw new NotFound(error.code, error.message, { hint, cause: error });
    }
    const { candidates } = error instanceof Conflict ? error.details : {};
    if (!(error instanceof Conflict) || !Array.isArray(candidates)) throw error;
    const names = candidates.map((candidate: { name?: unknown }) => String(candidate.name));
    throw new Conflict(error.code, error.message, { hint: `name it: ${names.join(", ")}`, cause: error });
  }
}

const discovered = command({
  meta: {
    name: "discovered",
    description: "List hosts that agents called and no service covers, with templates for them",
    details: "The last called comes first. vault service add --template ID adds a service from a template.",
  },
  args: {
    limit: { type: "string", valueHint: "int", default: "20", description: "Hosts to list, 1 to 100" },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const limit = Number(args.limit);
    if (limit < 1 || limit > 100) {
      throw new UsageError("bad_flag_value", `--limit cannot be ${args.limit}`, { hint: "give --limit 1 to 100" });
    }
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) => client.discoveredHosts(vault, limit));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["HOST", "REQUESTS", "LAST SEEN", "SENT", "TEMPLATES"],
      rows: answer.hosts.map((seen) => [
        seen.host,
        String(seen.request_count),
        formatTime(seen.last_seen),
        seen.auth_scheme ?? "-",
        seen.templates?.join(", ") || "-",
      ]),
      empty: `Agents found a service in the vault "${vault}" for every host that they called.`,
    });
    const more = answer.total - answer.hosts.length;
    if (more > 0) note(context.terminal, `${more} more: --limit ${Math.min(answer.total, 100)}`);
  },
});

const clear = command({
  meta: { name: "clear", description: "Remove all services" },
  args: { yes: yesFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    if (!(await confirm(context, `Remove all services from the vault "${vault}"?`, args.yes))) return;
    await asPerson(context, {}, (client) => client.clearServices(vault));
    success(context.terminal, `The vault "${vault}" has no services now`);
  },
});

export const serviceCommand = command({
  meta: { name: "service", group: "Contents", description: "The services that a vault brokers" },
  subCommands: {
    list: async () => list,
    add: async () => add,
    set: async () => set,
    enable: async () => enable,
    disable: async () => disable,
    remove: async () => remove,
    clear: async () => clear,
    discovered: async () => discovered,
  },
});
