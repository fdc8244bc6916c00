import { readFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { CredentialEntry } from "../../client/wire.ts";
import { InvalidInput, NotFound, UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm } from "../confirm.ts";
import { asAnyone, resolveVault } from "../connect.ts";
import { parseEnvFile } from "../env-file.ts";
import { formatTime, printJson, printTable, success, warn } from "../output.ts";
import { detailFlags, detailsOf } from "./vault-credential-life.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };
const environment = {
  AGENT_VAULT_ADDR: "Address of the server, with a token",
  AGENT_VAULT_TOKEN: "Token of an agent, instead of a login",
  AGENT_VAULT_VAULT: "Vault to use",
};
const keyPattern = /^[A-Z][A-Z0-9_]*$/;

const list = command({
  meta: { name: "list", description: "List the names of credentials", environment },
  args: { reveal: { type: "boolean", description: "Show the values" }, json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asAnyone(context, {}, (client) => client.listCredentials(vault, { reveal: args.reveal }));
    if (args.json) return printJson(context.terminal, answer);
    const empty = `The vault "${vault}" has no credentials.`;
    const entries = answer.credentials ?? [];
    if (entries.length === 0) {
      return printTable(context.terminal, { head: ["KEY"], rows: (answer.keys ?? []).map((key) => [key]), empty });
    }
    printTable(context.terminal, { ...tableOf(entries, args.reveal), empty });
    for (const entry of entries) remindOf(context, entry);
  },
});

/** Columns that would be empty in every row are left out. */
function tableOf(entries: readonly CredentialEntry[], reveals: boolean) {
  const columns: readonly (readonly [head: string, isShown: boolean, cell: (entry: CredentialEntry) => string])[] = [
    ["KEY", true, ({ key }) => key],
    ["TYPE", true, ({ type }) => type ?? "static"],
    ["VALUE", reveals, ({ unavailable, value }) => (unavailable ? "(not available)" : (value ?? ""))],
    ["DESCRIPTION", entries.some((one) => one.description), ({ description }) => description ?? ""],
    ["LAST USED", entries.some((one) => one.last_used_at), ({ last_used_at: at }) => formatTime(at)],
    ["ENDS", entries.some((one) => one.expires_at), ({ expires_at: at }) => formatTime(at)],
  ];
  const shown = columns.filter(([, isShown]) => isShown);
  return {
    head: shown.map(([head]) => head),
    rows: entries.map((entry) => shown.map(([, , cell]) => cell(entry))),
  };
}

const soonMs = 14 * 86_400_000;

function remindOf({ terminal }: CliContext, entry: CredentialEntry): void {
  const { key, expires_at: end, last_refresh_error: refusal } = entry;
  const leftMs = end === undefined ? Number.POSITIVE_INFINITY : Date.parse(end) - Date.now();
  if (leftMs <= 0) warn(terminal, `${key} ended on ${formatTime(end)}`);
  else if (leftMs <= soonMs) warn(terminal, `${key} ends on ${formatTime(end)}`);
  if (refusal) warn(terminal, `${key}: ${refusal}`);
}

const get = command({
  meta: { name: "get", description: "Print the value of a credential", environment },
  args: { key: { type: "positional", completes: "credential", description: "Name of the credential" }, json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const { credentials } = await asAnyone(context, {}, (client) =>
      client.listCredentials(vault, { reveal: true, key: args.key }),
    );
    const entry = (credentials ?? []).find((candidate) => candidate.key === args.key);
    if (!entry) {
      throw new NotFound("credential_not_found", `The vault "${vault}" has no credential ${args.key}`, {
        hint: `agent-vault vault credential list --vault ${vault}`,
      });
    }
    if (args.json) return printJson(context.terminal, entry);
    context.terminal.outValue(entry.value ?? "");
  },
});

const set = command({
  meta: {
    name: "set",
    description: "Store credentials",
    details:
      "KEY alone asks for the value without showing it. KEY=@FILE reads a file, KEY=- standard input.\n" +
      "KEY=VALUE works too, but the value is then visible in the shell's history and in the list of processes.",
    usage: "<key...> [flags]",
    environment,
    examples: [
      "agent-vault vault credential set GITHUB_TOKEN",
      "gh auth token | agent-vault vault credential set GITHUB_TOKEN --stdin",
      "agent-vault vault credential set TLS_KEY=@key.pem",
      "agent-vault vault credential set --env-file .env",
    ],
  },
  args: {
    key: { type: "positional", repeatable: true, required: false, description: "KEY, KEY=@FILE, KEY=- or KEY=VALUE" },
    stdin: { type: "boolean", description: "Read the value of the only KEY from standard input" },
    "env-file": {
      type: "string",
      repeatable: true,
      completes: "file",
      description: "Store every KEY=VALUE line of a file; - is standard input",
    },
    ...detailFlags,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const values = await readValues(context, args);
    const details = detailsOf(args);
    const { set: names } = await asAnyone(context, {}, (client) =>
      client.setCredentials(
        vault,
        Object.fromEntries(values),
        details && Object.fromEntries([...values.keys()].map((key) => [key, details])),
      ),
    );
    if (args.json) return printJson(context.terminal, { vault, set: names });
    success(context.terminal, `Stored ${[...names].sort().join(", ")} in the vault "${vault}"`);
  },
});

interface SetArgs {
  readonly key: readonly string[];
  readonly stdin: boolean;
  readonly "env-file": readonly string[];
}

/** @throws {UsageError} for a malformed or repeated key, before anything is asked or read. */
async function readValues(context: CliContext, args: SetArgs): Promise<Map<string, string>> {
  const requests = args.key.map(parseRequest);
  if (requests.length === 0 && args["env-file"].length === 0) {
    throw new UsageError("missing_argument", "No credential is named", {
      hint: "agent-vault vault credential set KEY",
    });
  }
  if (args.stdin && (requests.length !== 1 || requests[0]?.from !== "question")) {
    throw new UsageError("stdin_needs_one_key", "--stdin goes with exactly one KEY without a value", {
      hint: "KEY --stdin",
    });
  }
  const fromInput = requests.filter(({ from }) => from === "stdin").length + (args.stdin ? 1 : 0);
  if (fromInput + args["env-file"].filter((file) => file === "-").length > 1) {
    throw new UsageError("stdin_twice", "Standard input can hold only one value");
  }
  if (requests.some(({ from }) => from === "argument")) {
    warn(
      context.terminal,
      "a value on the command line is visible to other processes and in the shell's history; KEY alone asks for it",
    );
  }
  const values = new Map<string, string>();
  const put = (key: string, value: string) => {
    if (values.has(key)) throw new UsageError("key_twice", `${key} is given twice`);
    values.set(key, value);
  };
  for (const file of args["env-file"]) {
    const text = file === "-" ? await context.terminal.readAll() : (await readBytes(context, file)).toString("utf8");
    for (const [key, value] of parseEnvFile(text, file === "-" ? "standard input" : basename(file)))
      put(checkKey(key), value);
  }
  for (const request of requests) put(request.key, await readValue(context, request, args.stdin));
  return values;
}

type ValueRequest =
  | { readonly from: "question" | "stdin"; readonly key: string }
  | { readonly from: "file" | "argument"; readonly key: string; readonly text: string };

function parseRequest(word: string): ValueRequest {
  const split = word.indexOf("=");
  const key = checkKey(split < 0 ? word : word.slice(0, split));
  if (split < 0) return { from: "question", key };
  const text = word.slice(split + 1);
  if (text === "-") return { from: "stdin", key };
  return text.startsWith("@") ? { from: "file", key, text: text.slice(1) } : { from: "argument", key, text };
}

function checkKey(key: string): string {
  if (keyPattern.test(key)) return key;
  // A word that is no key may be a value that was typed in the wrong place: it is not repeated.
  const shown = /^[A-Za-z0-9_-]{1,40}$/.test(key) && key.length < 25 ? ` "${key}"` : "";
  throw new UsageError(
    "bad_credential_key",
    `The name${shown} of a credential must be of A-Z, 0-9 and _ and begin with a letter`,
    {
      hint: "a name such as STRIPE_KEY",
    },
  );
}

async function readValue(context: CliContext, request: ValueRequest, isPiped: boolean): Promise<string> {
  if (request.from === "argument") return request.text;
  if (request.from === "file") return withoutLineEnd((await readBytes(context, request.text)).toString("utf8"));
  if (request.from === "stdin" || isPiped) return withoutLineEnd(await context.terminal.readAll());
  return context.terminal.askHidden(`${request.key}: `, `${request.key} --stdin, or ${request.key}=@FILE`);
}

/** `echo` and editors end a line; no credential of one line does. A text of several lines (PEM) keeps its last one. */
function withoutLineEnd(text: string): string {
  const trimmed = text.replace(/\r?\n$/, "");
  return trimmed.includes("\n") ? text : trimmed;
}

async function readBytes(context: CliContext, file: string): Promise<Buffer> {
  try {
    return await readFile(resolve(context.workingDirectory, file));
  } catch (cause) {
    throw new InvalidInput("file_unreadable", `Cannot read ${file}`, {
      hint: "check that it exists and may be read",
      cause,
    });
  }
}

const remove = command({
  meta: { name: "delete", description: "Delete credentials", environment },
  args: {
    key: { type: "positional", repeatable: true, completes: "credential", description: "Names of the credentials" },
    yes: yesFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const users = args.yes ? [] : await findUsers(context, vault, args.key);
    const question = `Services that use ${args.key.join(", ")} will stop working: ${users.join(", ")}. Delete?`;
    if (users.length > 0 && !(await confirm(context, question, false))) return;
    const { deleted } = await asAnyone(context, {}, (client) => client.deleteCredentials(vault, args.key));
    if (args.json) return printJson(context.terminal, { vault, deleted });
    success(context.terminal, `Deleted ${deleted.join(", ")} from the vault "${vault}"`);
  },
});

async function findUsers(context: CliContext, vault: string, keys: readonly string[]): Promise<readonly string[]> {
  const names = new Set<string>();
  for (const key of keys) {
    const { services } = await asAnyone(context, {}, (client) => client.credentialUsage(vault, key));
    for (const service of services ?? []) names.add(service.name);
  }
  return [...names].sort();
}

export const credentialCommand = command({
  meta: { name: "credential", alias: ["creds"], group: "Contents", description: "The credentials of a vault" },
  subCommands: {
    list: async () => list,
    get: async () => get,
    set: async () => set,
    edit: async () => (await import("./vault-credential-life.ts")).editCommand,
    versions: async () => (await import("./vault-credential-life.ts")).versionsCommand,
    restore: async () => (await import("./vault-credential-life.ts")).restoreCommand,
    oauth: async () => (await import("./vault-credential-oauth.ts")).oauthCommand,
    delete: async () => remove,
  },
});
