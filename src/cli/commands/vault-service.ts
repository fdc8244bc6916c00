import type { Client } from "../../client/client.ts";
import { Conflict, NotFound, UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm } from "../confirm.ts";
import { asAnyone, asPerson, resolveVault } from "../connect.ts";
import { printable, printJson, printTable, success } from "../output.ts";
import {
  type AuthFlags,
  authFromFlags,
  deriveName,
  formatServiceFile,
  parseServiceFile,
  parseSubstitution,
} from "../service-file.ts";
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
      "The keys are names of credentials, never values. At a terminal, without flags, it asks; a template of the\n" +
      "catalog then answers most of the questions.",
    usage: "[flags]",
    examples: [
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
    name: { type: "string", description: "Name of the service; derived from the host when absent" },
    host: { type: "string", description: "Host, with port and path pattern if need be: api.example.com:8443/v1/*" },
    "auth-type": {
      type: "string",
      options: ["bearer", "basic", "api-key", "custom", "passthrough"],
      description: "How the service authenticates",
    },
    "token-key": { type: "string", description: "bearer: credential with the token" },
    "username-key": { type: "string", description: "basic: credential with the user name" },
    "password-key": { type: "string", description: "basic: credential with the password" },
    "api-key-key": { type: "string", description: "api-key: credential with the key" },
    "api-key-header": { type: "string", default: "Authorization", description: "api-key: header that carries the key" },
    "api-key-prefix": { type: "string", description: "api-key: text before the key, such as 'Token '" },
    "custom-header": { type: "string", repeatable: true, description: "custom: NAME=TEMPLATE with {{ KEY }} in it" },
    substitute: {
      type: "string",
      repeatable: true,
      description: "PLACEHOLDER=KEY@SURFACES: replace a placeholder, in path and query when no surfaces are named",
    },
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
    const flags = singleFlags.filter((name) => given.has(name));
    if (args.file !== undefined && flags.length > 0) {
      throw new UsageError("file_and_flags", `--file and --${flags[0]} exclude each other`);
    }
    if (args.file === undefined && args.host === undefined) {
      if (context.terminal.isInteractive && flags.length === 0) {
        return build(context, vault, { canReplace: false, isJson: args.json });
      }
      throw new UsageError("service_missing", "Neither --host nor --file is given", {
        hint: "--host api.example.com --auth-type bearer --token-key EXAMPLE_TOKEN",
      });
    }
    const single = args.file === undefined ? serviceFromFlags(args, given) : undefined;
    const services = single ? [single] : await readServices(context, args.file ?? "-");
    const answer = await asPerson(context, {}, async (client) => {
      const named = services.some((service) => service.name === undefined)
        ? await withNames(client, vault, services)
        : services;
      return client.upsertServices(vault, named);
    });
    if (args.json) return printJson(context.terminal, answer);
    for (const name of answer.upserted) success(context.terminal, `Service "${name}" is in the vault "${vault}"`);
  },
});

/** They describe one service, so they do not go with a file of several. */
const singleFlags = [
  ...["name", "host", "auth-type", "disabled", "substitute", "scrub"],
  ...["scheme", "method", "strip-header", "set-cookie", "raw"],
];

interface AddFlags extends AuthFlags {
  readonly name: string | undefined;
  readonly host: string | undefined;
  readonly disabled: boolean;
  readonly substitute: readonly string[];
  readonly scrub: string | undefined;
  readonly scheme: readonly string[];
  readonly method: readonly string[];
  readonly "strip-header": readonly string[];
  readonly "set-cookie": string | undefined;
  readonly raw: boolean;
}

function serviceFromFlags(flags: AddFlags, given: ReadonlySet<string>): Record<string, unknown> {
  return {
    ...(flags.name === undefined ? {} : { name: flags.name }),
    host: flags.host,
    ...(flags.disabled ? { enabled: false } : {}),
    auth: flags.raw && !given.has("auth-type") ? { type: "passthrough" } : authFromFlags(flags, given),
    ...(flags.scrub === undefined ? {} : { scrub: flags.scrub }),
    ...(flags.scheme.length > 0 ? { schemes: flags.scheme } : {}),
    ...(flags.method.length > 0 ? { methods: flags.method } : {}),
    ...(flags["strip-header"].length > 0 ? { strip_headers: flags["strip-header"] } : {}),
    ...(flags["set-cookie"] === undefined ? {} : { set_cookie: flags["set-cookie"] }),
    ...(flags.raw ? { raw: true } : {}),
    ...(flags.substitute.length > 0 ? { substitutions: flags.substitute.map(parseSubstitution) } : {}),
  };
}

/** A service without a name takes that of the only one with its host, else one made from the host. */
async function withNames(client: Client, vault: string, services: readonly Record<string, unknown>[]) {
  const existing = (await client.listServices(vault)).services ?? [];
  const taken = new Set([...existing, ...services].map((service) => String(service.name ?? "")));
  return services.map((service) => {
    if (service.name !== undefined) return service;
    const host = String(service.host ?? "");
    const same = existing.filter((other) => other.host.toLowerCase() === host.toLowerCase());
    const name = same.length === 1 && same[0] ? same[0].name : deriveName(host, taken);
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
  const built = await asPerson(context, {}, (client) => buildServices(context, { client, vault, canReplace }));
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
  },
});
