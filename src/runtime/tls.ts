import type { Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";

/** Terminating TLS on a socket that already carried a CONNECT. */

export type { SecureContext } from "node:tls";

/** A certificate and key in PEM, parsed once for all the handshakes that use it. */
export function createServerContext(certificate: string, key: string): SecureContext {
  return createSecureContext({ cert: certificate, key, minVersion: "TLSv1.2" });
}

/**
 * Becomes the TLS server on `socket`. `early` is what the client sent behind its CONNECT without waiting for the
 * answer: the start of its ClientHello, which must not be lost.
 *
 * Wrapping an accepted socket with a fixed context works on Bun, Node and Deno; an `SNICallback` here would be
 * ignored on Bun, so the context is chosen by the CONNECT authority and the name is compared afterwards.
 *
 * @param protocols what is offered (ALPN, RFC 7301), the best first.
 */
export function terminateTls(
  socket: Socket,
  context: SecureContext,
  early: Buffer,
  protocols: readonly string[] = http1Alone,
): TLSSocket {
  if (early.length > 0) {
    socket.pause();
    socket.unshift(early);
  }
  return new TLSSocket(socket, { isServer: true, secureContext: context, ALPNProtocols: [...protocols] });
}

/**
 * Our order counts, as with most servers (RFC 7301, section 3.2): some clients list HTTP/2 last and then speak nothing
 * else.
 */
export const http2First: readonly string[] = ["h2", "http/1.1"];
const http1Alone: readonly string[] = ["http/1.1"];

/** Do the two sides speak HTTP/2 now? */
export function speaksHttp2(socket: TLSSocket): boolean {
  return socket.alpnProtocol === "h2";
}

/** The name that the client asked for, lower-case; undefined when it sent none. */
export function requestedName(socket: TLSSocket): string | undefined {
  // Node says false and Bun says "" where the types promise a string.
  const name = (socket as { servername?: string | false }).servername;
  return name ? name.toLowerCase() : undefined;
}
