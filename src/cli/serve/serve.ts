/** The server in this process, or a detached one in another. */
import { isWildcard, localUrl, parseServerConfig, type ServerConfig, type ServerFlags } from "../../config.ts";
import type { Secret } from "../../crypto/secret.ts";
import type { MasterPasswordSource } from "../../domain/unlock.ts";
import { InvalidInput, UsageError } from "../../errors.ts";
import { createLogger, type Logger } from "../../log.ts";
import { claimPidFile, findText, openDataDirectory, refuseSecondServer } from "../../runtime/files.ts";
import { type Environment, takeFromEnvironment } from "../../runtime/process.ts";
import type { CliContext } from "../command.ts";
import { readLines } from "../confirm.ts";
import { localAddress } from "../connect.ts";
import { note, warn } from "../output.ts";
import { detach, detachedMark, type Handover } from "./detach.ts";
import { askFirstOwner, type FirstOwner, registerFirstOwner } from "./first-owner.ts";
import { outliveBugs } from "./last-defence.ts";

export interface ServeOptions {
  readonly isDetached: boolean;
  readonly isPasswordPiped: boolean;
}

/** Runs until a signal stops it; with `isDetached` only until the background server answers. */
export async function serve(context: CliContext, flags: ServerFlags, options: ServeOptions): Promise<void> {
  // Before anything else can start a child or fail with a dump.
  const fromEnvironment = takeFromEnvironment("AGENT_VAULT_MASTER_PASSWORD");
  const smtpFromEnvironment = takeFromEnvironment("AGENT_VAULT_SMTP_PASSWORD");
  const config = parseConfig(flags, context);
  await refuseSecondServer(config.dataDirectory);
  await openDataDirectory(config.dataDirectory);
  const log = createLogger(config.log);
  const server = await import("../../server.ts");
  const handover = context.environment[detachedMark] ? await readHandover(context) : undefined;
  const smtpText = handover?.smtpPassword ?? smtpFromEnvironment ?? (await readSmtpPasswordFile(context.environment));
  const smtpPassword = smtpText === undefined ? undefined : server.secretOf(smtpText);
  const source = await passwordSource(context, { fromEnvironment, handover, options, secretOf: server.secretOf });
  if (isWildcard(config.host)) {
    warn(context.terminal, "the server listens on every address of this machine, over HTTP");
  }
  const serving = await withFirstOwner(context, { server, config, source, smtpPassword, log });
  if (options.isDetached) await serveDetached(context, { ...serving, flags });
  else await serveHere(context, serving);
}

/** Asks for the owner's account before anything serves, so that Ctrl-C at a question leaves nothing half done. */
async function withFirstOwner(context: CliContext, serving: Serving): Promise<Serving> {
  const { server, config, log } = serving;
  if (!context.terminal.isInteractive || (await server.hasAccounts(config, log))) return serving;
  await server.requireFreePort(config);
  const { password, setupSecret } = await unlockOnce(serving);
  const source: MasterPasswordSource =
    password === undefined ? { kind: "absent" } : { kind: "stdin", password: server.secretOf(password) };
  const owner = await askFirstOwner(context);
  return { ...serving, source, ...(owner ? { owner: { ...owner, setupSecret } } : {}) };
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
  readonly handover: Handover | undefined;
  readonly options: ServeOptions;
  readonly secretOf: Server["secretOf"];
}

async function passwordSource(
  context: CliContext,
  { fromEnvironment, handover, options, secretOf }: PasswordOrigin,
): Promise<MasterPasswordSource> {
  const { terminal } = context;
  if (handover !== undefined) {
    const handed = handover.masterPassword;
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

/** What `detach` wrote into our standard input. */
async function readHandover({ terminal }: CliContext): Promise<Handover> {
  takeFromEnvironment(detachedMark);
  const [line = "{}"] = await terminal.readLines(1);
  return JSON.parse(line) as Handover;
}

/** A secret that a container or an init system mounts as a file; its last line end is not part of it. */
async function readSmtpPasswordFile(environment: Environment): Promise<string | undefined> {
  const path = environment.AGENT_VAULT_SMTP_PASSWORD_FILE;
  if (!path) return undefined;
  const text = await findText(path);
  if (text !== undefined) return text.replace(/\r?\n$/, "");
  throw new InvalidInput("invalid_configuration", `AGENT_VAULT_SMTP_PASSWORD_FILE names ${path}, which does not exist`);
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
  readonly smtpPassword: Secret | undefined;
  readonly log: Logger;
  /** The account to make once it serves. */
  readonly owner?: FirstOwner;
}

async function serveHere(
  context: CliContext,
  { server: { startServer }, config, source, smtpPassword, log, owner }: Serving,
): Promise<void> {
  const { terminal } = context;
  const say = (line: string) => terminal.out(`${line}\n`);
  const server = await startServer({ config, masterPassword: source, smtpPassword, log, output: say });
  const claim = await claimPidFile(config.dataDirectory, localUrl(config.host, config.port)).catch(
    async (error: unknown) => {
      await server.close();
      throw error;
    },
  );
  // Before the first line: from here on a reader of our output that goes away ends nothing.
  const stopping = stopSignal();
  say(`agent-vault listens on ${config.baseUrl}`);
  if (server.proxyPort !== undefined) say(`Proxy for agents ${describeProxy(config, server.proxyPort)}`);
  if (owner) await registerFirstOwner(context, owner, localUrl(config.host, config.port));
  if (!(await server.isInitialized())) await sayHowToBegin(server, config, say);
  outliveBugs(log);
  const signal = await stopping;
  say(`Stopping (${signal}) …`);
  await server.close();
  await claim.release();
  say("Stopped");
  // Connections to a database that is away are open for as long as the system likes: they must not keep the process.
  setTimeout(() => process.exit(), leaveWithinMs).unref();
}

/** After everything has stopped. An event loop with nothing left in it ends at once. */
const leaveWithinMs = 500;
function describeProxy({ agentHop: { tls, socket } }: ServerConfig, port: number): string {
  const onPort = port === 0 ? [] : [`on port ${port}${tls === undefined ? "" : ", with TLS"}`];
  return [...onPort, ...(socket === undefined ? [] : [`at ${socket.path}`])].join(" and ");
}

/** The output is where only the operator reads. */
async function sayHowToBegin(
  { domain: { setup } }: Awaited<ReturnType<Server["startServer"]>>,
  { baseUrl }: ServerConfig,
  say: (line: string) => void,
): Promise<void> {
  // Without it a command goes to the usual port, and there may be another server.
  const register = `agent-vault auth register${baseUrl === localAddress ? "" : ` --address ${baseUrl}`}`;
  if (!setup.isGuarded) return say(`There is no owner yet: ${register}`);
  const secret = await setup.secret();
  say("There is no owner yet. Others can reach this server, so the first account takes a setup secret.");
  say(`In a browser: ${baseUrl}/setup/${secret}`);
  say(`On the command line: AGENT_VAULT_SETUP_SECRET=${secret} ${register}`);
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
  const { password: masterPassword } = await unlockOnce(options);
  await detach(context, {
    dataDirectory: config.dataDirectory,
    args: argumentsFor(flags),
    environment: flags.databaseUrl ? { ...context.environment, DATABASE_URL: flags.databaseUrl } : context.environment,
    handover: { masterPassword, smtpPassword: options.smtpPassword?.reveal() },
    host: config.host,
    port: config.port,
  });
  if (options.owner) await registerFirstOwner(context, options.owner, localUrl(config.host, config.port));
}

interface Unlocked {
  readonly password: string | undefined;
  readonly setupSecret: string;
}

/**
 * Opens the keys here, where somebody can be asked, so that the child cannot fail for the password.
 * @returns the password that opened them, undefined when there is none; and what the first account takes.
 */
async function unlockOnce({ server, config, source, log }: Serving): Promise<Unlocked> {
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
  const setupSecret = await server.withLocalDatabase(config, log, async (database) => {
    const keyring = await openKeyring(database, remembering, log);
    try {
      return await server.setupSecret(database, keyring);
    } finally {
      keyring.destroy();
    }
  });
  return { password: password?.reveal() || undefined, setupSecret };
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
