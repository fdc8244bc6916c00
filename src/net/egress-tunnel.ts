import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";
import { type Authority, formatAuthority, isIpLiteral } from "./address.ts";
import { dial } from "./dial.ts";
import { failed } from "./dial-failure.ts";
import type { EgressProxy, Route } from "./egress-proxy.ts";
import { openHttpTunnel } from "./http-connect.ts";
import type { NetworkPolicy } from "./policy.ts";
import { openSocksTunnel, socksReplies } from "./socks5.ts";
import { type SessionStore, secure } from "./tls-client.ts";

/** A way to an upstream through the operator's proxy. The proxy carries bytes: TLS is between us and the upstream. */

export interface TunnelRequest {
  readonly route: Route;
  readonly target: Authority;
  /** Of the target, checked; none where the proxy resolves names. */
  readonly addresses: readonly string[];
  readonly policy: NetworkPolicy;
  readonly trust: SecureContext;
  /** Addresses of the proxy itself. */
  readonly lookup: (host: string) => Promise<readonly string[]>;
  readonly connectTimeoutMs: number;
  readonly tlsTimeoutMs: number;
}

/**
 * Dials the proxy and has it open a tunnel. Agents are told that this failed, not where the proxy is.
 *
 * @throws {UpstreamFailed} `egress_proxy_failed`; `connect_refused` when the proxy says that the upstream refused.
 */
export async function openTunnel(request: TunnelRequest): Promise<Socket> {
  const socket = await reachProxy(request);
  const timer = setTimeout(() => socket.destroy(), request.connectTimeoutMs);
  let refusal: Error | undefined;
  try {
    refusal = await ask(socket, request);
  } catch (cause) {
    refusal = egressFailed(request.target, (cause as Error).message, { cause });
  } finally {
    clearTimeout(timer);
  }
  // Our own timer, or an end of the proxy that nobody has been told about yet.
  if (!refusal && socket.destroyed) refusal = egressFailed(request.target, "it closed the connection", {});
  if (!refusal) return socket;
  socket.destroy();
  throw refusal;
}

async function reachProxy(request: TunnelRequest): Promise<Socket> {
  const { route, policy, trust } = request;
  const { proxy } = route;
  try {
    const addresses = await request.lookup(proxy.host);
    for (const address of addresses) refuseLoop(policy, proxy, address);
    const socket = await dial(addresses, {
      port: proxy.port,
      timeoutMs: request.connectTimeoutMs,
      accept: (remoteAddress) => refuseLoop(policy, proxy, remoteAddress),
    });
    if (proxy.scheme !== "https") return socket;
    const sessions: SessionStore = { session: undefined };
    const timeoutMs = request.tlsTimeoutMs;
    return await secure(socket, { target: proxy, context: trust, sessions, timeoutMs, protocols: ["http/1.1"] });
  } catch (cause) {
    throw failed(
      "egress_proxy_failed",
      `${formatAuthority(request.target)} was not reached: the egress proxy could not be`,
      { cause, hint: "An operator names that proxy with AGENT_VAULT_UPSTREAM_PROXY or HTTPS_PROXY" },
    );
  }
}

/** @throws {Error} when the proxy is this server, which would then ask itself for ever, or hands out credentials. */
function refuseLoop(policy: NetworkPolicy, proxy: EgressProxy, address: string): void {
  const denial = policy.deniesEgressProxy(address, proxy.port);
  if (denial === "own_listener") throw new Error("the egress proxy is this server itself");
  if (denial) throw new Error(`the egress proxy may not be at this address: ${denial}`);
}

/** The proxy's refusal, if it does not open the tunnel. */
async function ask(socket: Socket, { route, target, addresses }: TunnelRequest): Promise<Error | undefined> {
  const { proxy } = route;
  if (proxy.isSocks) {
    // What was checked is what is asked for, where the protocol allows it: nobody resolves the name a second time.
    // The first IPv4 address, if there is one, because many proxies have nothing else.
    const host = addresses.find((address) => !address.includes(":")) ?? addresses[0] ?? target.host;
    const reply = await openSocksTunnel(socket, proxy, { host, port: target.port });
    if (reply === 0) return undefined;
    if (reply === 5) return failed("connect_refused", `${formatAuthority(target)} refused the connection`);
    return egressFailed(target, socksReplies[reply] ?? `reply ${reply}`, {});
  }
  // A name is passed on as a name: many such proxies decide by it. They resolve it once more, after our check.
  const status = await openHttpTunnel(socket, proxy, target);
  if (status >= 200 && status < 300) return undefined;
  const reason = status === 407 ? "it wants other credentials (407)" : `it answered ${status}`;
  return egressFailed(target, reason, status === 504 ? { status } : {});
}

function egressFailed(target: Authority, reason: string, options: { status?: 504; cause?: unknown }): Error {
  const what = isIpLiteral(target.host) ? "address" : "name";
  return failed("egress_proxy_failed", `The egress proxy did not open a way to ${formatAuthority(target)}: ${reason}`, {
    ...options,
    hint: `An operator can let this ${what} pass by the proxy with AGENT_VAULT_UPSTREAM_NO_PROXY`,
  });
}
