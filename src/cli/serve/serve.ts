/** The server in this process, or a detached one in another. */
import { isWildcard, localUrl, parseServerConfig, type ServerConfig, type ServerFlags } from "../../config.ts";
import type { MasterPasswordSource } from "../../domain/unlock.ts";
import { InvalidInput, UsageError } from "../../errors.ts";
import { createLogger, type Logger } from "../../log.ts";
import { claimPidFile, openDataDirectory, refuseSecondServer } from "../../runtime/files.ts";
import { takeFromEnvironment } from "../../runtime/process.ts";
import type { CliContext } from "../command.ts";
import { readLines } from "../confirm.ts";
import { note, warn } from "../output.ts";
import type { SignIn } from "../sign-in.ts";
import { detach, detachedMark } from "./detach.ts";
import { askFirstOwner, registerFirstOwner } from "./first-owner.ts";
import { outliveBugs } from "./last-defence.ts";

export interface ServeOptions {
  readonly isDetached: boolean;
  readonly isPasswordPiped: boolean;
}

/** Runs until a signal stops it; with `isDetached` only until the background server answers. */
export async function serve(context: CliContext, flags: ServerFlags, options: ServeOptions): Promise<void> {
  // Before anything else can start a child or fail with a dump.
  const fromEnvironment = takeFromEnvironment("AGENT_VAULT_MASTER_PASSWORD");
  const config = parseConfig(flags, context);
  await refuseSecondServer(config.dataDirectory);
  await openDataDirectory(config.dataDirectory);
  const log = createLogger(config.log);
  const server = await import("../../server.ts");
  const source = await passwordSource(context, { fromEnvironment, options, secretOf: server.secretOf });
  if (isWildcard(config.host)) {
    warn(context.terminal, "the server listens on every address of this machine, over HTTP");
  }
  const serving = await withFirstOwner(context, { server, config, source, log });
  if (options.isDetached) await serveDetached(context, { ...serving, flags });
  else await serveHere(context, serving);
}

/** Asks for the owner's account before anything serves, so that Ctrl-C at a question leaves nothing half done. */
async function withFirstOwner(context: CliContext, serving: Serving): Promise<Serving> {
  const { server, config, log } = serving;
  if (!context.terminal.isInteractive || (await server.hasAccounts(config, log))) return serving;
  await server.requireFreePort(config);
  const password = await unlockOnce(serving);
  const source: MasterPasswordSource =
    password === undefined ? { kind: "absent" } : { kind: "stdin", password: server.secretOf(password) };
  const owner = await askFirstOwner(context);
  return { ...serving, source, ...(owner ? { owner } : {}) };
}

/** @throws {UsageError} for a flag, {InvalidInput} for a variable. */
function parseConfig(flags: ServerFlags, context: CliContext): ServerConfig {
  try {
    return parseServerConfig(flags, context.environment);
  } catch (error) {
    if (!(error instanceof InvalidInput) || !error.message.startsWith("--")) throw error;
    throw new UsageError(error.code, error.message, { ...(error.hint ? { hint: error.hint } : {}), cause: error });
  }
}

type Server = typeof import("../../server.ts");

interface PasswordOrigin {
  readonly fromEnvironment: string | undefined;
  readonly options: ServeOptions;
  readonly secretOf: Server["secretOf"];
}

async function passwordSource(
  context: CliContext,
  { fromEnvironment, options, secretOf }: PasswordOrigin,
): Promise<MasterPasswordSource> {
  const { terminal, environment } = context;
  if (environment[detachedMark]) {
    const handed = await readHandover(context);
    return handed === undefined ? { kind: "absent" } : { kind: "stdin", password: secretOf(handed) };
  }
  if (fromEnvironment !== undefined) return { kind: "environment", password: secretOf(fromEnvironment) };
  if (options.isPasswordPiped) {
    const [line = ""] = await readLines(context, ["the master password"]);
    return { kind: "stdin", password: secretOf(line) };
  }
  if (!terminal.isInteractive) return { kind: "absent" };
  return { kind: "prompt", ask: async (question) => secretOf(await askMasterPassword(context, question)) };
}

/** What `detach` wrote into our standard input: the master password, if there is one. */
async function readHandover({ terminal }: CliContext): Promise<string | undefined> {
  takeFromEnvironment(detachedMark);
  const [line = "{}"] = await terminal.readLines(1);
  return (JSON.parse(line) as { masterPassword?: string }).masterPassword;
}

type Question = Parameters<Extract<MasterPasswordSource, { kind: "prompt" }>["ask"]>[0];

async function askMasterPassword({ terminal }: CliContext, { purpose, attempt }: Question): Promise<string> {
  const instead = "AGENT_VAULT_MASTER_PASSWORD or --password-stdin";
  if (purpose === "give") {
    if (attempt > 1) note(terminal, `That is not it. Attempt ${attempt} of 3.`);
    return terminal.askHidden("Master password: ", instead);
  }
  note(terminal, "A master password protects the stored credentials. Leave it empty to rely on file permissions.");
  for (;;) {
    const password = await terminal.askHidden("New master password: ", instead);
    if (password === "" || password === (await terminal.askHidden("Once more: ", instead))) return password;
    note(terminal, "The two differ.");
  }
}

interface Serving {
  readonly server: Server;
  readonly config: ServerConfig;
  readonly source: MasterPasswordSource;
  readonly log: Logger;
  /** The account to make once it serves. */
  readonly owner?: SignIn;
}

async function serveHere(
  context: CliContext,
  { server: { startServer }, config, source, log, owner }: Serving,
): Promise<void> {
  const { terminal } = context;
  const say = (line: string) => terminal.out(`${line}\n`);
  const server = await startServer({ config, masterPassword: source, log, output: say });
  const claim = await claimPidFile(config.dataDirectory, localUrl(config.host, config.port)).catch(
    async (error: unknown) => {
      await server.close();
      throw error;
    },
  );
  // Before the first line: from here on a reader of our output that goes away ends nothing.
  const stopping = stopSignal();
  say(`agent-vault listens on ${config.baseUrl}`);
  if (server.proxyPort !== undefined) say(`Proxy for agents on port ${server.proxyPort}`);
  if (owner) await registerFirstOwner(context, owner, localUrl(config.host, config.port));
  if (!(await server.isInitialized())) say("There is no owner yet: agent-vault auth register");
  outliveBugs(log);
  const signal = await stopping;
  say(`Stopping (${signal}) …`);
  await server.close();
  await claim.release();
  say("Stopped");
}

/** Resolves with the first signal to stop; a second one ends the process at once. */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let isStopping = false;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (isStopping) process.exit(1);
        isStopping = true;
        resolve(signal);
      });
    }
  });
}

async function serveDetached(context: CliContext, options: Serving & { readonly flags: ServerFlags }): Promise<void> {
  const { config, flags } = options;
  await options.server.requireFreePort(config);
  const masterPassword = await unlockOnce(options);
  await detach(context, {
    dataDirectory: config.dataDirectory,
    args: argumentsFor(flags),
    environment: flags.databaseUrl ? { ...context.environment, DATABASE_URL: flags.databaseUrl } : context.environment,
    masterPassword,
    host: config.host,
    port: config.port,
  });
  if (options.owner) await registerFirstOwner(context, options.owner, localUrl(config.host, config.port));
}

/**
 * Opens the keys here, where somebody can be asked, so that the child cannot fail for the password.
 * @returns the password that opened them; undefined when there is none.
 */
async function unlockOnce({ server, config, source, log }: Serving): Promise<string | undefined> {
  const { openKeyring } = await import("../../domain/unlock.ts");
  let password = source.kind === "environment" || source.kind === "stdin" ? source.password : undefined;
  const remembering: MasterPasswordSource =
    source.kind !== "prompt"
      ? source
      : {
          kind: "prompt",
          ask: async (question) => {
            password = await source.ask(question);
            return password;
          },
        };
  await server.withLocalDatabase(config, log, async (database) => {
    const keyring = await openKeyring(database, remembering, log);
    keyring.destroy();
  });
  return password?.reveal() || undefined;
}

/** The flags that the detached server needs again; the database URL may hold a password and goes by the environment. */
function argumentsFor(flags: ServerFlags): readonly string[] {
  const named: readonly (readonly [string, string | undefined])[] = [
    ["host", flags.host],
    ["port", flags.port],
    ["mitm-port", flags.mitmPort],
    ["log-level", flags.logLevel],
    ["max-request-bytes", flags.maxRequestBytes],
    ["max-response-bytes", flags.maxResponseBytes],
  ];
  return named.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]));
}
