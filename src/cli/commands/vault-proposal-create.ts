import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Client } from "../../client/client.ts";
import type * as wire from "../../client/wire.ts";
import { InvalidInput, UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag } from "../command.ts";
import { resolveVault } from "../connect.ts";
import { note, printFacts, printJson, success } from "../output.ts";
import {
  exitCodeOf,
  proposalEnvironment,
  readTimeout,
  waitFlags,
  waitFor,
  withVaultToken,
} from "../proposal-follow.ts";
import { printProposal } from "../proposal-view.ts";
import { type AuthFlags, authFromFlags, deriveName, parseSubstitution } from "../service-file.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };
/** Flags that describe the one service and the credentials; a file does that by itself. */
const contentFlags = [
  ...["name", "host", "auth-type", "token-key", "username-key", "password-key", "api-key-key", "api-key-header"],
  ...["api-key-prefix", "custom-header", "substitute", "credential"],
];

export const createCommand = command({
  meta: {
    name: "create",
    description: "Ask for a service or a credential",
    details:
      "Prints a link under which somebody with a say in the vault approves it. Nothing changes before.\n" +
      "A JSON file has the fields of the API: services, credentials, message, user_message.",
    usage: "[flags]",
    environment: proposalEnvironment,
    examples: [
      "agent-vault vault proposal create --name github --host api.github.com --auth-type bearer --token-key GITHUB_TOKEN --credential 'GITHUB_TOKEN=token with read access' -m 'to read issues'",
      "agent-vault vault proposal create --credential STRIPE_KEY --wait",
      "agent-vault vault proposal create -f proposal.json --json",
    ],
  },
  args: {
    file: { type: "string", alias: "f", description: "JSON with the whole proposal; - is standard input" },
    name: { type: "string", description: "Name of the service" },
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
    credential: {
      type: "string",
      repeatable: true,
      description: "KEY or KEY=DESCRIPTION of a credential to be stored; never a value",
    },
    message: { type: "string", alias: "m", description: "What it is for, for developers" },
    "user-message": { type: "string", description: "What whoever approves should know" },
    supersedes: {
      type: "string",
      valueHint: "int",
      description: "Number of an earlier proposal that this one replaces",
    },
    description: { type: "string", description: "Accepted for compatibility; not sent" },
    ...waitFlags,
    json: jsonFlag,
  },
  async run({ args, given, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const timeoutSeconds = readTimeout(args.timeout);
    const content = args.file === undefined ? contentFromFlags(args, given) : await contentOfFile(context, args, given);
    const body = {
      ...content,
      ...(args.message !== undefined && { message: args.message }),
      ...(args["user-message"] !== undefined && { user_message: args["user-message"] }),
      ...(args.supersedes !== undefined && { supersedes: Number(args.supersedes) }),
    };
    const created = await withVaultToken(context, vault, async (client) =>
      client.createProposal(vault, args.file === undefined ? await withName(client, vault, body) : body),
    );
    if (!args.wait) {
      printCreated(context, created, args.json);
      return 0;
    }
    // The link is for somebody at another screen, and must be seen before the wait is over.
    note(context.terminal, `Proposal ${created.id} waits for a decision: ${created.approval_url}`);
    const ended = await waitFor(context, created.vault, String(created.id), timeoutSeconds);
    if (args.json) printJson(context.terminal, ended);
    else if (ended.status === "applied") success(context.terminal, `Proposal ${ended.id} applied`);
    else printProposal(context.terminal, created.vault, ended);
    return exitCodeOf(ended);
  },
});

function printCreated({ terminal }: CliContext, created: wire.CreatedProposal, asJson: boolean): void {
  if (asJson) {
    printJson(terminal, created);
    return;
  }
  success(terminal, `Proposal ${created.id} created in the vault "${created.vault}"`);
  printFacts(terminal, [
    ["Proposal", String(created.id)],
    ["Vault", created.vault],
    ["Approve at", created.approval_url],
  ]);
}

interface ContentFlags extends AuthFlags {
  readonly name: string | undefined;
  readonly host: string | undefined;
  readonly credential: readonly string[];
  readonly substitute: readonly string[];
}

function contentFromFlags(flags: ContentFlags, given: ReadonlySet<string>): Record<string, unknown> {
  if (flags.host === undefined) {
    const stray = contentFlags.find((name) => name !== "credential" && given.has(name));
    if (stray) throw new UsageError("host_missing", `--${stray} needs --host`, { hint: "--host api.example.com" });
    if (flags.credential.length === 0) {
      throw new UsageError("proposal_empty", "Nothing is asked for: give --host, --credential or --file", {
        hint: "--host api.example.com --auth-type bearer --token-key EXAMPLE_TOKEN --credential EXAMPLE_TOKEN",
      });
    }
  }
  const service = flags.host !== undefined && {
    action: "set",
    ...(flags.name !== undefined && { name: flags.name }),
    host: flags.host,
    auth: authFromFlags(flags, given),
    ...(flags.substitute.length > 0 && { substitutions: flags.substitute.map(parseSubstitution) }),
  };
  return {
    ...(service && { services: [service] }),
    ...(flags.credential.length > 0 && { credentials: flags.credential.map(parseCredential) }),
  };
}

/**
 * The server gives a service without a name that of the only one with the same host. Where there is none, the name is
 * made from the host.
 */
async function withName(
  client: Client,
  vault: string,
  body: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const [service] = (body.services ?? []) as readonly Record<string, unknown>[];
  if (service === undefined || service.name !== undefined) return body;
  const existing = (await client.discover(vault)).services ?? [];
  const host = String(service.host);
  if (existing.filter((other) => other.host === host.toLowerCase()).length === 1) return body;
  const name = deriveName(host, new Set(existing.map((other) => other.name)));
  return { ...body, services: [{ ...service, name }] };
}

function parseCredential(text: string): Record<string, string> {
  const [, key, description] = /^([A-Z][A-Z0-9_]*)(?:=(.*))?$/s.exec(text) ?? [];
  if (key === undefined) {
    throw new UsageError("bad_credential", "--credential should be KEY or KEY=DESCRIPTION", {
      hint: "--credential 'GITHUB_TOKEN=token with read access'",
    });
  }
  return { action: "set", key, ...(description && { description }) };
}

async function contentOfFile(
  context: CliContext,
  args: { readonly file: string | undefined },
  given: ReadonlySet<string>,
): Promise<Record<string, unknown>> {
  const stray = contentFlags.find((name) => given.has(name));
  if (stray) throw new UsageError("file_and_flags", `--file and --${stray} exclude each other`);
  const file = args.file ?? "-";
  const text = file === "-" ? await context.terminal.readAll() : await readText(context, file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidInput("bad_json", `${file === "-" ? "Standard input" : file} is not valid JSON`, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new InvalidInput("bad_json", `${file === "-" ? "Standard input" : file} should hold a JSON object`);
}

async function readText(context: CliContext, file: string): Promise<string> {
  try {
    return await readFile(resolve(context.workingDirectory, file), "utf8");
  } catch (cause) {
    throw new InvalidInput("file_unreadable", `Cannot read ${file}`, {
      hint: "check that it exists and may be read",
      cause,
    });
  }
}
