/** Puts the checks in order: what comes later needs what came before. */
import type { Client, ProxyAuthority } from "../../client/client.ts";
import { proxyHostOf } from "../../client/proxy-env.ts";
import { AppError, messageOf } from "../../errors.ts";
import type { CliContext } from "../command.ts";
import {
  anonymousClient,
  clientOf,
  findAgent,
  findVaultName,
  localAddress,
  type Person,
  resolveAddress,
} from "../connect.ts";
import { buildProxyEnv } from "../launch/environment.ts";
import { readSystemRoots, writeTrustFiles } from "../launch/trust.ts";
import { findLogin } from "../local-state.ts";
import { type Check, check } from "./check.ts";
import { checkClients } from "./clients.ts";
import { checkAgentToken, checkLogin, checkProxy, checkServer, checkVault, checkVersion } from "./server-checks.ts";

export interface ExamineOptions {
  readonly vault: string | undefined;
  /** Undefined: none; empty: all that are installed. */
  readonly clients: readonly string[] | undefined;
  /** An empty folder, for programs that are tried. */
  readonly folder: string;
}

/** Asks nobody anything: what is missing is a finding. */
export async function examine(context: CliContext, options: ExamineOptions): Promise<readonly Check[]> {
  const identity = await findIdentity(context);
  const address = identity.address;
  const reachable = await checkServer(address);
  if (reachable.some(({ verdict }) => verdict === "failed")) {
    return [...reachable, ...(await programs(context, options, undefined))];
  }
  const known = await checkIdentity(context, identity, options.vault);
  const session = await openToken(known);
  try {
    const authority = await anonymousClient(address).proxyAuthority();
    const proxyHost = proxyHostOf(address);
    const systemRoots = await readSystemRoots(context.environment);
    const target = { host: proxyHost, token: session?.token, vault: known.vault, systemRoots };
    const proxy = await checkProxy(authority, target);
    const isUsable = session && authority && proxy.every(({ verdict }) => verdict !== "failed");
    const setting = isUsable
      ? { address, vault: known.vault, token: session.token, host: proxyHost, authority }
      : undefined;
    return [
      ...reachable,
      ...known.checks,
      ...(session?.failed ? [session.failed] : []),
      ...proxy,
      ...(await programs(context, options, setting)),
    ];
  } finally {
    await session?.close();
  }
}

type Identity =
  | {
      readonly kind: "agent";
      readonly address: string;
      readonly client: Client;
      readonly variable: string;
      readonly token: string;
    }
  | { readonly kind: "person"; readonly address: string; readonly client: Client }
  | { readonly kind: "none"; readonly address: string; readonly problem: Check };

async function findIdentity(context: CliContext): Promise<Identity> {
  try {
    const agent = findAgent(context);
    if (agent) {
      const { address, variable, token } = agent;
      return { kind: "agent", address, variable, token, client: clientOf(agent) };
    }
    const login = await findLogin(context);
    if (login) {
      const person: Person = { kind: "person", address: context.address ?? login.address, login };
      return { kind: "person", address: person.address, client: clientOf(person) };
    }
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const problem = check("identity", "login", "failed", error.message, { hint: error.hint });
    return { kind: "none", address: await fallbackAddress(context), problem };
  }
  const problem = check("identity", "login", "failed", "Nobody is logged in here", { hint: "agent-vault auth login" });
  return { kind: "none", address: await fallbackAddress(context), problem };
}

/** A login that cannot be read names no server either. */
function fallbackAddress(context: CliContext): Promise<string> {
  return resolveAddress(context, context.address).catch(() => localAddress);
}

interface Known {
  readonly identity: Identity;
  readonly vault: string;
  readonly checks: readonly Check[];
}

async function checkIdentity(context: CliContext, identity: Identity, flag: string | undefined): Promise<Known> {
  if (identity.kind === "none") return { identity, vault: flag ?? "default", checks: [identity.problem] };
  const { client } = identity;
  if (identity.kind === "agent") {
    const vault = flag ?? context.environment.AGENT_VAULT_VAULT;
    if (!vault) {
      const hint = "--vault NAME or AGENT_VAULT_VAULT=NAME";
      const missing = check("identity", "token", "failed", "A token is in use and no vault is named", { hint });
      return { identity: { kind: "none", address: identity.address, problem: missing }, vault: "", checks: [missing] };
    }
    const checks = await checkAgentToken(client, { vault, variable: identity.variable });
    return { identity, vault, checks: await withVersion(client, checks) };
  }
  const vault = (await findVaultName(context, flag)) ?? "default";
  const login = await checkLogin(client);
  if (login.some(({ verdict }) => verdict === "failed")) return { identity, vault, checks: login };
  return { identity, vault, checks: await withVersion(client, [...login, ...(await checkVault(client, vault))]) };
}

async function withVersion(client: Client, checks: readonly Check[]): Promise<readonly Check[]> {
  if (checks.some(({ verdict }) => verdict === "failed")) return checks;
  return [await checkVersion(client), ...checks];
}

interface Session {
  readonly token: string | undefined;
  readonly failed?: Check;
  close(): Promise<void>;
}

/** The token to try things with: the agent's own, or one made for the occasion. */
async function openToken({ identity, vault, checks }: Known): Promise<Session | undefined> {
  if (identity.kind === "none" || checks.some(({ verdict }) => verdict === "failed")) return undefined;
  if (identity.kind === "agent") return { token: identity.token, close: async () => undefined };
  const { client } = identity;
  try {
    const { id, token } = await client.createScopedSession({ vault, ttl_seconds: 300, label: "doctor" });
    return {
      token,
      close: async () => {
        // It ends by itself in five minutes.
        await client.revokeScopedSession(vault, id).catch(() => undefined);
      },
    };
  } catch (error) {
    const failed = check("identity", "vault_token", "failed", `No token can be made: ${messageOf(error)}`);
    return { token: undefined, failed, close: async () => undefined };
  }
}

interface Setting {
  readonly address: string;
  readonly vault: string;
  readonly token: string | undefined;
  readonly host: string;
  readonly authority: ProxyAuthority;
}

async function programs(
  context: CliContext,
  { clients, folder }: ExamineOptions,
  setting: Setting | undefined,
): Promise<readonly Check[]> {
  if (clients === undefined) return [];
  const { environment } = context;
  const token = setting?.token;
  if (!setting || token === undefined) {
    return checkClients({ environment, childEnvironment: undefined, token, names: clients, workingDirectory: folder });
  }
  const { pem, port, scheme } = setting.authority;
  const files = await writeTrustFiles(pem, context);
  const proxy = { ...files, scheme: scheme === "https" ? scheme : "http", host: setting.host, port } as const;
  const childEnvironment = buildProxyEnv({
    inherited: environment,
    token,
    vault: setting.vault,
    address: setting.address,
    proxy,
  });
  return checkClients({ environment, childEnvironment, token, names: clients, workingDirectory: folder });
}
