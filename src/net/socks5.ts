import type { Socket } from "node:net";
import { type Authority, parseIp } from "./address.ts";
import type { EgressProxy } from "./egress-proxy.ts";
import { HandshakeReader } from "./handshake-reader.ts";

/** The outcome of a request (RFC 1928, section 6). */
export const socksReplies: Readonly<Record<number, string>> = {
  0: "succeeded",
  1: "general failure",
  2: "not allowed by its rules",
  3: "network unreachable",
  4: "host unreachable",
  5: "connection refused",
  6: "time to live expired",
  7: "command not supported",
  8: "address type not supported",
};

const noLogin = 0;
const usernamePassword = 2;

/**
 * Asks a SOCKS5 proxy for a connection (RFC 1928), with user and password where it wants them (RFC 1929).
 *
 * @param target an address, or a name that the proxy is to resolve
 * @returns its reply; 0 is a connection
 * @throws {Error} when it answers something else than SOCKS5, wants another login, or refuses ours.
 */
export async function openSocksTunnel(socket: Socket, proxy: EgressProxy, target: Authority): Promise<number> {
  const { login } = proxy;
  const reader = new HandshakeReader(socket);
  socket.write(login ? Uint8Array.of(5, 2, noLogin, usernamePassword) : Uint8Array.of(5, 1, noLogin));
  const [version, method] = await reader.bytes(2);
  if (version !== 5) throw new Error("it does not answer in SOCKS5");
  if (method === usernamePassword && login) await logIn(socket, reader, login);
  else if (method !== noLogin) throw new Error("it wants a login that was not given");
  socket.write(Buffer.concat([Uint8Array.of(5, 1, 0), addressOf(target.host), portOf(target.port)]));
  const [replyVersion, reply = 1, , addressType] = await reader.bytes(4);
  if (replyVersion !== 5) throw new Error("it does not answer in SOCKS5");
  if (reply !== 0) return reply;
  await skipAddress(reader, addressType);
  reader.release();
  return reply;
}

async function logIn(
  socket: Socket,
  reader: HandshakeReader,
  login: { readonly username: string; readonly password: string },
): Promise<void> {
  socket.write(Buffer.concat([Uint8Array.of(1), counted(login.username), counted(login.password)]));
  const [, status] = await reader.bytes(2);
  if (status !== 0) throw new Error("it refuses the login");
}

async function skipAddress(reader: HandshakeReader, type: number | undefined): Promise<void> {
  if (type === 1) await reader.bytes(4 + 2);
  else if (type === 4) await reader.bytes(16 + 2);
  else if (type === 3) await reader.bytes(((await reader.bytes(1))[0] ?? 0) + 2);
  else throw new Error("it does not answer in SOCKS5");
}

function addressOf(host: string): Uint8Array {
  const ip = parseIp(host);
  if (ip) return Buffer.concat([Uint8Array.of(ip.length === 4 ? 1 : 4), ip]);
  return Buffer.concat([Uint8Array.of(3), counted(host)]);
}

function portOf(port: number): Uint8Array {
  return Uint8Array.of(port >> 8, port & 0xff);
}

/** A text after its length in one byte. */
function counted(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}
