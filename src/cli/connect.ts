/** Which server, which vault, and as whom: an agent by its token, or a person by the saved login. */
import { hostname } from "node:os";
import { Client } from "../client/client.ts";
import { InvalidInput, Unauthenticated, UsageError } from "../errors.ts";
import { buildInfo } from "../runtime/build-info.ts";
import { directFetch } from "../runtime/direct-fetch.ts";
import { noTerminal } from "../runtime/terminal.ts";
import type { CliContext } from "./command.ts";
import { findLogin, findProject, findVaultInUse, type Login, saveLogin } from "./local-state.ts";
import { note, warn } from "./output.ts";

/** Where a server listens unless told otherwise. */
export const localAddress = "http://127.0.0.1:14321";

/** Flags that many commands share. */
export interface ConnectFlags {
  readonly address?: string | undefined;
  readonly vault?: string | undefined;
}

export interface Agent {
  readonly kind: "agent";
  readonly token: string;
  readonly address: string;
  /** Name of the variable that held the token. */
  readonly variable: string;
}

export interface Person {
  readonly kind: "person";
  readonly address: string;
  readonly login: Login;
}

/** A client without a token, for what is public. */
export function anonymousClient(address: string): Client {
  return openClient(address, undefined);
}

function openClient(address: string, token: string | undefined, timeoutMs?: number): Client {
  const clientName = `cli/${buildInfo.version}`;
  return new Client({
    address,
    token,
    clientName,
    fetch: directFetch,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
}

/** @throws {UsageError} unless it is an http or https address; drops a trailing slash. */
export function parseAddress(text: string, source: string): string {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  const isPlain = url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search && !url.hash;
  if (!isPlain) {
    throw new UsageError("bad_address", `${source} is not an address of a server`, {
      hint: `${source} https://vault.example.com`,
    });
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

/** `--address`, `AGENT_VAULT_ADDR`, the login, the local default. */
export async function resolveAddress(context: CliContext, flag: string | undefined): Promise<string> {
  if (flag !== undefined) return parseAddress(flag, "--address");
  const variable = context.environment.AGENT_VAULT_ADDR;
  if (variable) return parseAddress(variable, "AGENT_VAULT_ADDR");
  return (await findLogin(context))?.address ?? localAddress;
}

/** Environments with the older name of the token about which a word was said; a command looks for its agent repeatedly. */
const toldAboutName = new WeakSet<CliContext["environment"]>();

/** The agent that this process acts for, when a token is in the environment. @throws {InvalidInput} without an address. */
export function findAgent(context: CliContext, flags: ConnectFlags = {}): Agent | undefined {
  const { environment } = context;
  const variable = ["AGENT_VAULT_TOKEN", "AGENT_VAULT_SESSION_TOKEN"].find((name) => environment[name]);
  if (!variable) return undefined;
  // `run` exports both names to its child, for old programs; only the old name alone is worth a word.
  if (variable === "AGENT_VAULT_SESSION_TOKEN" && !toldAboutName.has(environment)) {
    toldAboutName.add(environment);
    warn(context.terminal, "AGENT_VAULT_SESSION_TOKEN is the old name; use AGENT_VAULT_TOKEN");
  }
  const named = flags.address ?? context.address;
  const address = named ?? environment.AGENT_VAULT_ADDR;
  if (!address) {
    throw new InvalidInput(
      "address_missing",
      `${variable} is set and AGENT_VAULT_ADDR is not, so the server is unknown`,
      {
        hint: `AGENT_VAULT_ADDR=${localAddress}`,
      },
    );
  }
  const source = named ? "--address" : "AGENT_VAULT_ADDR";
  return { kind: "agent", token: environment[variable] ?? "", address: parseAddress(address, source), variable };
}

/**
 * The saved login. Without one, a person at the terminal is led to it; elsewhere:
 * @throws {Unauthenticated} `not_logged_in`, naming the command that helps.
 */
export async function requirePerson(context: CliContext, flags: ConnectFlags = {}): Promise<Person> {
  const login = (await findLogin(context)) ?? (await setUp(context));
  const named = flags.address ?? context.address;
  const address = named === undefined ? login.address : parseAddress(named, "--address");
  return { kind: "person", address, login };
}

async function setUp(context: CliContext): Promise<Login> {
  if (!context.terminal.isInteractive) {
    throw new Unauthenticated("not_logged_in", "Nobody is logged in here", {
      hint: "agent-vault auth login, or agent-vault auth register for a new server",
    });
  }
  const { guideToLogin } = await import("./guided-setup.ts");
  return guideToLogin(context);
}

/**
 * Runs `work` with the saved login and asks nobody for anything, for what is only nice to know.
 * @throws {Unauthenticated} when there is no login, or it has expired.
 */
export async function asSavedPerson<T>(
  context: CliContext,
  work: (client: Client) => Promise<T>,
  { timeoutMs }: { readonly timeoutMs?: number } = {},
): Promise<T> {
  const login = await findLogin(context);
  if (!login) throw new Unauthenticated("not_logged_in", "Nobody is logged in here");
  return work(openClient(login.address, login.token, timeoutMs));
}

/**
 * Runs `work` as the logged-in person. When the login has expired and somebody is at the terminal, asks for the
 * password and runs it once more.
 */
export async function asPerson<T>(
  context: CliContext,
  flags: ConnectFlags,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const person = await requirePerson(context, flags);
  try {
    return await work(openClient(person.address, person.login.token));
  } catch (error) {
    if (!(error instanceof Unauthenticated)) throw error;
    if (!context.terminal.isInteractive || person.address !== person.login.address) {
      throw new Unauthenticated("session_expired", "The login is not valid any more", {
        hint: "agent-vault auth login",
        cause: error,
      });
    }
    const renewed = await logInAgain(context, person.login);
    return work(openClient(renewed.address, renewed.token));
  }
}

/** As `asPerson`, or as the agent whose token is in the environment. */
export async function asAnyone<T>(
  context: CliContext,
  flags: ConnectFlags,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const agent = findAgent(context, flags);
  return agent ? work(openClient(agent.address, agent.token)) : asPerson(context, flags, work);
}

export function clientOf(identity: Agent | Person, timeoutMs?: number): Client {
  return openClient(identity.address, identity.kind === "agent" ? identity.token : identity.login.token, timeoutMs);
}

async function logInAgain(context: CliContext, old: Login): Promise<Login> {
  const { terminal } = context;
  note(terminal, `The login at ${old.address} has expired.`);
  const email = old.email ?? (await terminal.ask("E-mail: ", "agent-vault auth login --email"));
  const password = await terminal.askHidden(`Password of ${email}: `, "agent-vault auth login --password-stdin");
  const label = old.device_label ?? deviceLabel();
  const { token } = await anonymousClient(old.address).login({ email, password, device_label: label });
  const login: Login = { ...old, token, email, device_label: label };
  await saveLogin(context, login);
  return login;
}

/** What a login is called in the list of logins. */
export function deviceLabel(): string {
  return hostname() || "cli";
}

/** `--vault`, `AGENT_VAULT_VAULT`, the project file, `vault use`; undefined when nothing names one. */
export async function findVaultName(context: CliContext, flag: string | undefined): Promise<string | undefined> {
  const named = flag || context.environment.AGENT_VAULT_VAULT;
  if (named) return named;
  const project = await findProject(context, (sentence) => warn(context.terminal, sentence));
  if (project?.address) await compareServers(context, project.file, project.address);
  return project?.vault ?? (await findVaultInUse(context));
}

/**
 * A project may say which server its vault is on. That is compared and never followed: a file in a repository must not
 * decide where a login's token goes.
 */
async function compareServers(context: CliContext, file: string, named: string): Promise<void> {
  const address = context.address ?? (await findLogin(context))?.address;
  const same = (text: string) => (URL.canParse(text) ? new URL(text).href.replace(/\/+$/, "") : text);
  if (address === undefined || same(address) === same(named)) return;
  warn(context.terminal, `${file} is about the server ${named}, and this goes to ${address}`);
}

/** The vault of a command. An agent must be told; a person falls back to `default`. @throws {UsageError} */
export async function resolveVault(context: CliContext, flag: string | undefined): Promise<string> {
  if (!findsAgent(context)) return (await findVaultName(context, flag)) ?? "default";
  const named = flag || context.environment.AGENT_VAULT_VAULT;
  if (named) return named;
  throw new UsageError("vault_missing", "An agent's token is in use and no vault is named", {
    hint: "--vault NAME or AGENT_VAULT_VAULT=NAME",
  });
}

function findsAgent({ environment }: CliContext): boolean {
  return Boolean(environment.AGENT_VAULT_TOKEN || environment.AGENT_VAULT_SESSION_TOKEN);
}

/**
 * The vault for `run` and `token`: as `resolveVault`, but when nothing names one, the only vault there is, or the one
 * that a person picks. @throws {UsageError} `vault_ambiguous` where nobody can be asked.
 */
export async function chooseVault(context: CliContext, flag: string | undefined, client: Client): Promise<string> {
  const named = await findVaultName(context, flag);
  if (named) return named;
  const vaults = (await client.listVaults()).vaults ?? [];
  if (vaults.length <= 1) return vaults[0]?.name ?? "default";
  const names = vaults.map((vault) => vault.name);
  if (!context.terminal.isInteractive) {
    throw new UsageError("vault_ambiguous", `There are ${names.length} vaults and none is chosen`, {
      hint: `--vault NAME, one of ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`,
    });
  }
  return pick(context, "Vault", names);
}

/** Asks for one of several names, by number or name. @throws {InvalidInput} `no_terminal`, naming `instead`. */
export async function pick(
  { terminal }: CliContext,
  what: string,
  names: readonly string[],
  instead = "--vault NAME",
): Promise<string> {
  if (!terminal.isInteractive) throw noTerminal(`${what}, one of ${names.slice(0, 8).join(", ")}`, instead);
  for (const [at, name] of names.entries()) note(terminal, `  ${at + 1}) ${name}`);
  for (;;) {
    const answer = (await terminal.ask(`${what} [1-${names.length}]: `, instead)).trim();
    const chosen = names.includes(answer) ? answer : names[Number(answer) - 1];
    if (chosen) return chosen;
    note(terminal, `Type a number from 1 to ${names.length}, or a name.`);
  }
}
