import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { Client } from "../../client/client.ts";
import { proxyHostOf } from "../../client/proxy-env.ts";
import { AppError, Forbidden, InvalidInput, NotFound, Unauthenticated, UsageError } from "../../errors.ts";
import { exitCodeOf, findCommand, runChild } from "../../runtime/process.ts";
import { addressFlag, type CliContext, command, vaultFlag } from "../command.ts";
import { type Agent, asPerson, chooseVault, clientOf, findAgent, requirePerson, resolveVault } from "../connect.ts";
import { buildProxyEnv } from "../launch/environment.ts";
import { prepareAgent } from "../launch/skill.ts";
import { writeTrustFiles } from "../launch/trust.ts";
import { note, paintError, printable, warn } from "../output.ts";
import { sessionFlags, sessionRequest } from "../session-request.ts";

const containerOnly = ["image", "mount", "keep", "no-firewall", "home-volume-shared", "share-agent-dir"] as const;

export const runCommand = command({
  meta: {
    name: "run",
    group: "Work",
    description: "Run a command whose requests go through the broker",
    details:
      "The command gets a short-lived token for one vault, and the variables that lead it through the proxy.\n" +
      "It never sees a credential. The token ends with the command.",
    usage: "[flags] -- <command> [args...]",
    environment: {
      AGENT_VAULT_ADDR: "Read with a token; set for the command",
      AGENT_VAULT_TOKEN: "Read: run as this agent instead of the login. Set for the command",
      AGENT_VAULT_VAULT: "Read when --vault is absent; set for the command",
      AGENT_VAULT_ISOLATION: "Read when --isolation is absent",
      "HTTPS_PROXY, HTTP_PROXY": "Set, in both cases; ALL_PROXY is removed",
      NO_PROXY: "Set to localhost and the server",
      NODE_USE_ENV_PROXY: "Set to 1, so that Node uses the proxy",
      OPENCLAW_PROXY_URL: "Set to the proxy",
      "SSL_CERT_FILE, CURL_CA_BUNDLE": "Set to the system's roots and the broker's",
      "REQUESTS_CA_BUNDLE, GIT_SSL_CAINFO": "Set likewise, as are those of pip, cargo, npm, aws and wget",
      "CURL_HOME, GIT_PROXY_SSL_CAINFO": "Set where the proxy takes TLS",
      "NODE_EXTRA_CA_CERTS, DENO_CERT": "Set to the broker's root",
    },
    examples: [
      "agent-vault run -- claude",
      "agent-vault run --vault billing -- python3 report.py",
      "agent-vault run -- curl https://api.github.com/user",
    ],
  },
  takesCommand: true,
  args: {
    address: addressFlag,
    vault: vaultFlag,
    ...sessionFlags,
    isolation: { type: "string", description: "Where the command runs: host or container", shownDefault: "host" },
    sandbox: { type: "string", description: "Older name of --isolation: process or container" },
    image: { type: "string", description: "container: image to run" },
    mount: { type: "string", repeatable: true, description: "container: more to mount, SOURCE:TARGET[:ro]" },
    keep: { type: "boolean", description: "container: keep it when the command ends" },
    "no-firewall": { type: "boolean", description: "container: leave its network open" },
    "home-volume-shared": { type: "boolean", description: "container: one home volume for all runs" },
    "share-agent-dir": { type: "boolean", description: "container: share the agent's own directory" },
    "no-mitm": { type: "boolean", description: "Set neither proxy nor certificates" },
    "keep-no-proxy": { type: "boolean", description: "Hosts of an inherited NO_PROXY go around the broker" },
    "no-skill": { type: "boolean", description: "Do not install instructions for the agent, nor configure OpenClaw" },
    quiet: { type: "boolean", alias: "q", description: "Do not say where requests go" },
  },
  async run({ args, given, rest, context }) {
    const [word, ...words] = rest;
    if (word === undefined) {
      throw new UsageError("command_missing", "agent-vault run needs a command", {
        hint: "agent-vault run -- <command> [args...]",
      });
    }
    requireHostIsolation(context, args, given);
    const request = sessionRequest(args);
    // Before anything is minted: a mistyped command must not leave a token behind.
    const file = findCommand(word, context.environment);
    if (!file) return notFound(context, word);

    const session = await openSession(context, args, { request, given });
    let environment: Record<string, string>;
    try {
      environment = await environmentFor(context, session, args);
    } catch (error) {
      await session.close();
      throw error;
    }
    if (!args["no-skill"]) await prepareAgent(context, word);
    if (!args.quiet) announce(context, session, args["no-mitm"], word);
    try {
      return exitCodeOf(await runChild({ command: file, args: words, environment }));
    } catch (cause) {
      if (cause instanceof AppError) throw cause;
      warn(
        context.terminal,
        `${word} cannot be started: ${cause instanceof Error && "code" in cause ? cause.code : "unknown reason"}`,
      );
      return 126;
    } finally {
      await session.close();
    }
  },
});

/** 127, as shells have it; 126 for a file that is there and cannot be executed. */
function notFound({ terminal, workingDirectory }: CliContext, word: string): number {
  const shown = printable(word.slice(0, 80));
  const isThere = word.includes("/") && existsSync(resolve(workingDirectory, word));
  const problem = isThere ? `"${shown}" cannot be executed` : `There is no command "${shown}"`;
  terminal.err(`${paintError(terminal, "red", "error:")} ${problem}${word.includes("/") ? "" : " on the PATH"}\n`);
  return isThere ? 126 : 127;
}

interface IsolationFlags {
  readonly isolation: string | undefined;
  readonly sandbox: string | undefined;
}

/** @throws {UsageError} for flags that contradict each other, before any request. */
function requireHostIsolation(context: CliContext, args: IsolationFlags, given: ReadonlySet<string>): void {
  const { environment } = context;
  const sources = [
    ["--isolation", args.isolation],
    ["--sandbox", args.sandbox],
    ["AGENT_VAULT_ISOLATION", environment.AGENT_VAULT_ISOLATION],
    ["AGENT_VAULT_SANDBOX", environment.AGENT_VAULT_SANDBOX],
  ] as const;
  const found = sources.filter(([, value]) => value);
  const modes = found.map(([source, value]) => {
    if (value === "host" || value === "process") return "host";
    if (value === "container") return "container";
    throw new UsageError("bad_isolation", `${source} cannot be "${value}"`, { hint: "host or container" });
  });
  const isContradictory = args.isolation !== undefined && args.sandbox !== undefined && modes[0] !== modes[1];
  if (isContradictory)
    throw new UsageError("isolation_contradiction", "--isolation and --sandbox contradict each other");
  if (modes[0] === "container") {
    throw new InvalidInput("container_unavailable", "This version cannot run commands in a container yet", {
      hint: "--isolation host",
    });
  }
  const stray = containerOnly.find((name) => given.has(name));
  if (stray) throw new UsageError("container_flag", `--${stray} goes with --isolation container only`);
}

/** A token for one vault, and what to do when it is not needed any more. */
interface RunSession {
  readonly client: Client;
  readonly address: string;
  readonly token: string;
  readonly vault: string;
  close(): Promise<void>;
}

interface RunFlags {
  readonly address: string | undefined;
  readonly vault: string | undefined;
}

async function openSession(
  context: CliContext,
  args: RunFlags,
  { request, given }: { request: ReturnType<typeof sessionRequest>; given: ReadonlySet<string> },
): Promise<RunSession> {
  const agent = findAgent(context, args);
  if (!agent) return mintSession(context, args, request);
  if (given.has("ttl")) {
    throw new UsageError(
      "ttl_with_token",
      `--ttl does not go with ${agent.variable}: that token has its lifetime already`,
    );
  }
  return borrowSession(context, args, agent);
}

/** Uses the token of the environment as it is; it outlives the command. */
async function borrowSession(context: CliContext, args: RunFlags, agent: Agent): Promise<RunSession> {
  const vault = await resolveVault(context, args.vault);
  const client = clientOf(agent);
  const found = await client.discover(vault).catch((error: unknown) => {
    if (!(error instanceof Unauthenticated || error instanceof Forbidden)) throw error;
    throw new Unauthenticated(
      "token_rejected",
      `The token in ${agent.variable} was rejected for the vault "${vault}": ${error.message}`,
      {
        hint: "a token of an agent that is in this vault",
        cause: error,
      },
    );
  });
  if (found.vault !== vault) {
    throw new InvalidInput(
      "vault_mismatch",
      `The token in ${agent.variable} belongs to the vault "${found.vault}", not to "${vault}"`,
      {
        hint: `--vault ${found.vault}, or a token of the other vault`,
      },
    );
  }
  return { client, address: agent.address, token: agent.token, vault, close: async () => undefined };
}

async function mintSession(
  context: CliContext,
  args: RunFlags,
  request: ReturnType<typeof sessionRequest>,
): Promise<RunSession> {
  const minted = await asPerson(context, args, async (client) => {
    const vault = await chooseVault(context, args.vault, client);
    const label = request.label ?? `run on ${basename(context.workingDirectory) || "this machine"}`.slice(0, 100);
    return { vault, ...(await client.createScopedSession({ ...request, vault, label })) };
  });
  // Read again: the login may have been renewed meanwhile.
  const person = await requirePerson(context, args);
  const client = clientOf(person);
  const { id, token, vault } = minted;
  const close = async () => {
    try {
      await client.revokeScopedSession(vault, id);
    } catch (error) {
      warn(
        context.terminal,
        `the run's token could not be revoked and lives until it expires: ${error instanceof Error ? error.message : error}`,
      );
    }
  };
  return { client, address: person.address, token, vault, close };
}

interface EnvironmentFlags {
  readonly "no-mitm": boolean;
  readonly "keep-no-proxy": boolean;
}

async function environmentFor(context: CliContext, session: RunSession, args: EnvironmentFlags) {
  const base = { inherited: context.environment, token: session.token, vault: session.vault, address: session.address };
  if (args["no-mitm"]) return buildProxyEnv(base);
  const authority = await session.client.proxyAuthority();
  if (!authority) {
    throw new NotFound(
      "proxy_disabled",
      "The server runs without its proxy, so the command could not reach any service",
      {
        hint: "its --mitm-port is 0, or was in use when it started (its log says so); or give --no-mitm",
      },
    );
  }
  const { scheme } = authority;
  if (scheme === "unix") {
    throw new NotFound(
      "proxy_on_socket",
      "The server's proxy listens on a Unix socket alone, where no variable leads",
      {
        hint: "start the server with a --mitm-port other than 0, or relay the socket to a port and give --no-mitm",
      },
    );
  }
  const files = await writeTrustFiles(authority.pem, context);
  const proxy = {
    ...files,
    scheme,
    host: proxyHostOf(session.address),
    port: authority.port,
    keepsNoProxy: args["keep-no-proxy"],
  };
  return buildProxyEnv({ ...base, proxy });
}

function announce({ terminal }: CliContext, session: RunSession, isOpen: boolean, word: string): void {
  const where = isOpen ? "without the broker's proxy" : `through the broker at ${session.address}`;
  note(terminal, `agent-vault: ${basename(word)} runs ${where}, vault "${session.vault}"`);
}
