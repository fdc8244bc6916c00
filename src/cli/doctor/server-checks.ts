/** Is there a server, does it know us, which vault, and does its proxy do what agents need? */
import { X509Certificate } from "node:crypto";
import type { Client, ProxyAuthority } from "../../client/client.ts";
import { AppError, messageOf } from "../../errors.ts";
import { buildInfo } from "../../runtime/build-info.ts";
import { directFetch } from "../../runtime/direct-fetch.ts";
import { splitPem } from "../launch/trust.ts";
import { formatTime } from "../output.ts";
import { type Check, check } from "./check.ts";
import { type ProxyTarget, probeProxy } from "./proxy-probe.ts";

const dayMs = 24 * 60 * 60_000;
/** Certificates and tokens of a minute are checked against clocks that differ by less. */
const skewLimitMs = 60_000;

/** Reachability and clock. */
export async function checkServer(address: string): Promise<readonly Check[]> {
  const begin = performance.now();
  let response: Response;
  try {
    response = await directFetch(`${address}/health`, { redirect: "manual", signal: AbortSignal.timeout(5_000) });
    await response.text();
  } catch {
    return [
      check("server", "server_reachable", "failed", `The server at ${address} cannot be reached`, {
        hint: "agent-vault server -d, or --address for one that runs elsewhere",
      }),
    ];
  }
  const elapsedMs = Math.round(performance.now() - begin);
  if (!response.ok) {
    const hint = response.status < 400 ? "give --address the final address" : "look into the server's log";
    return [
      check("server", "server_reachable", "failed", `${address} answers with status ${response.status}`, { hint }),
    ];
  }
  return [
    check("server", "server_reachable", "ok", `${address} answers (${elapsedMs} ms)`),
    ...checkTransport(address),
    ...checkClock(response.headers.get("date")),
  ];
}

function checkTransport(address: string): readonly Check[] {
  const { protocol, hostname } = new URL(address);
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  if (protocol === "https:" || isHere) return [];
  return [
    check("server", "transport", "warning", "The address is plain http to another machine: tokens travel unencrypted", {
      hint: "put TLS in front of the API, or use a private network",
    }),
  ];
}

function checkClock(date: string | null): readonly Check[] {
  const theirs = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(theirs)) return [];
  const skewMs = Math.abs(Date.now() - theirs);
  if (skewMs < skewLimitMs) return [check("server", "clock", "ok", "The clocks agree")];
  return [
    check("server", "clock", "warning", `The clocks differ by ${Math.round(skewMs / 1000)} s`, {
      hint: "synchronise them: certificates and tokens have times",
    }),
  ];
}

/** Needs a token: a server tells its version to nobody else. */
export async function checkVersion(client: Client): Promise<Check> {
  try {
    const { version } = await client.version();
    if (version === buildInfo.version) return check("server", "version", "ok", `Version ${version}, like this program`);
    return check("server", "version", "warning", `The server is ${version}, this program ${buildInfo.version}`, {
      hint: "install the same version on both sides",
    });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return check("server", "version", "skipped", "The server does not tell its version");
  }
}

/** A login: whose, and until when. */
export async function checkLogin(client: Client): Promise<readonly Check[]> {
  try {
    const [{ email, role }, { sessions }] = await Promise.all([client.profile(), client.listLogins()]);
    const until = (sessions ?? []).find(({ current }) => current)?.expires_at;
    const leftMs = until === undefined ? Number.POSITIVE_INFINITY : Date.parse(until) - Date.now();
    const message = `${email} (${role})${until === undefined ? "" : `, logged in until ${formatTime(until)}`}`;
    return [
      leftMs < 7 * dayMs
        ? check("identity", "login", "warning", message, { hint: "agent-vault auth login" })
        : check("identity", "login", "ok", message),
    ];
  } catch (error) {
    return [check("identity", "login", "failed", messageOf(error), { hint: "agent-vault auth login" })];
  }
}

/** A token of the environment, which has to be good for the vault. */
export async function checkAgentToken(
  client: Client,
  { vault, variable }: { readonly vault: string; readonly variable: string },
): Promise<readonly Check[]> {
  try {
    const { vault: own, services } = await client.discover(vault);
    if (own !== vault) {
      return [
        check("identity", "token", "failed", `The token in ${variable} belongs to the vault "${own}", not "${vault}"`, {
          hint: `AGENT_VAULT_VAULT=${own}`,
        }),
      ];
    }
    return [
      check("identity", "token", "ok", `The token in ${variable} is good`),
      checkServices(vault, services?.length ?? 0),
    ];
  } catch (error) {
    const message = `The token in ${variable} does not work for the vault "${vault}": ${messageOf(error)}`;
    return [check("identity", "token", "failed", message, { hint: "a token of an agent that is in this vault" })];
  }
}

/** The vault that commands would use, as a person. */
export async function checkVault(client: Client, vault: string): Promise<readonly Check[]> {
  try {
    const { vault_role: role } = await client.vaultContext(vault);
    const { services } = await client.listServices(vault);
    return [check("vault", "vault", "ok", `"${vault}", as ${role}`), checkServices(vault, services?.length ?? 0)];
  } catch (error) {
    const message = `The vault "${vault}" cannot be used: ${messageOf(error)}`;
    return [check("vault", "vault", "failed", message, { hint: "agent-vault vault list, then agent-vault vault use" })];
  }
}

function checkServices(vault: string, count: number): Check {
  if (count > 0) return check("vault", "services", "ok", `${count} service${count === 1 ? "" : "s"} in "${vault}"`);
  return check("vault", "services", "warning", `"${vault}" has no services, so nothing gets a credential`, {
    hint: "agent-vault catalog, then agent-vault vault service add",
  });
}

/** The root certificate, and with a token a connection through the proxy. */
export async function checkProxy(
  authority: ProxyAuthority | undefined,
  target: Omit<ProxyTarget, "port" | "rootPem" | "hasTls">,
): Promise<readonly Check[]> {
  if (!authority) {
    return [
      check("proxy", "proxy_enabled", "failed", "The server runs without its proxy", {
        hint: "its --mitm-port is 0, or was in use when it started: its log says so",
      }),
    ];
  }
  const root = checkRoot(authority.pem);
  if (root.verdict === "failed") return [root];
  if (authority.scheme === "unix") {
    return [root, check("proxy", "proxy_port", "skipped", "The proxy listens on a Unix socket alone")];
  }
  const full = { ...target, port: authority.port, rootPem: authority.pem, hasTls: authority.scheme === "https" };
  return [root, ...(await probeProxy(full))];
}

/** All that agents would trust; the one that signs comes first. */
function checkRoot(pem: string): Check {
  let roots: readonly X509Certificate[];
  try {
    roots = splitPem(pem).map((one) => new X509Certificate(one));
  } catch {
    return check("proxy", "root_certificate", "failed", "The server's root certificate cannot be read");
  }
  const [root] = roots;
  if (root === undefined) return check("proxy", "root_certificate", "failed", "The server has no root certificate");
  const leftMs = Date.parse(root.validTo) - Date.now();
  const until = `The root certificate is valid until ${formatTime(new Date(root.validTo).toISOString())}`;
  const message = roots.length > 1 ? `${until}; it is being rotated` : until;
  if (Date.parse(root.validFrom) > Date.now()) {
    return check("proxy", "root_certificate", "failed", "The root certificate is not valid yet", {
      hint: "check the clocks of both machines",
    });
  }
  const hint = roots.length > 1 ? "agent-vault ca status" : "agent-vault ca rotate";
  if (leftMs <= 0) return check("proxy", "root_certificate", "failed", message, { hint });
  if (leftMs < 90 * dayMs) return check("proxy", "root_certificate", "warning", message, { hint });
  return check("proxy", "root_certificate", "ok", message);
}
