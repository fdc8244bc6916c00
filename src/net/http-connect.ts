import type { Socket } from "node:net";
import { type Authority, formatAuthority } from "./address.ts";
import type { EgressProxy } from "./egress-proxy.ts";
import { HandshakeReader } from "./handshake-reader.ts";

/** What a proxy says to a CONNECT has no reason to be longer. */
const maxHeadBytes = 16 * 1024;

/**
 * Asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6).
 *
 * @returns the status of its answer; any 2xx is a tunnel
 * @throws {Error} when it answers something else than HTTP, or nothing.
 */
export async function openHttpTunnel(socket: Socket, proxy: EgressProxy, target: Authority): Promise<number> {
  const authority = formatAuthority(target);
  const login = proxy.authorization === undefined ? "" : `Proxy-Authorization: ${proxy.authorization}\r\n`;
  const reader = new HandshakeReader(socket);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${login}\r\n`, "latin1");
  const head = await reader.until("\r\n\r\n", maxHeadBytes);
  const [, status] = /^HTTP\/1\.[01] ([1-5][0-9]{2})(?: |\r)/.exec(head) ?? [];
  if (status === undefined) throw new Error("it does not answer in HTTP");
  // A refusal may have a body, and the connection is not used again.
  if (status.startsWith("2")) reader.release();
  return Number(status);
}
