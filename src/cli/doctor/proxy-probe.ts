/**
 * Talks to the proxy as an agent does, as far as the broker itself answers: nothing is sent to any upstream. The name
 * asked for ends in `.invalid`, which never resolves (RFC 6761, section 6.4).
 */
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { messageOf } from "../../errors.ts";
import { splitPem } from "../launch/trust.ts";
import { type Check, check } from "./check.ts";

/** What every probe asks for; only the broker can answer it. */
export const probeHost = "agent-vault-doctor.invalid";
const limitMs = 5_000;

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
  readonly rootPem: string;
  /** Does the port take TLS? */
  readonly hasTls: boolean;
  /** PEM: who vouches for the port besides the broker's root, as for a program under `run`. */
  readonly systemRoots: string;
  /** Undefined: only how strangers are received. */
  readonly token: string | undefined;
  readonly vault: string;
}

export async function probeProxy(target: ProxyTarget): Promise<readonly Check[]> {
  const where = `${target.host.includes(":") ? `[${target.host}]` : target.host}:${target.port}`;
  let stranger: number;
  try {
    stranger = await connectThrough(target, undefined, async (_, status) => status);
  } catch (error) {
    return [
      check("proxy", "proxy_port", "failed", `The proxy at ${where} cannot be reached: ${messageOf(error)}`, {
        hint: target.hasTls
          ? "agents need this port, too, and have to trust its certificate"
          : "agents need this port, too: open it between them and the server",
      }),
    ];
  }
  if (stranger !== 407) {
    return [
      check("proxy", "proxy_port", "failed", `What listens at ${where} is not the broker: it answers ${stranger}`, {
        hint: "something else has the port, or stands in front of it",
      }),
    ];
  }
  const reached = check("proxy", "proxy_port", "ok", `${where} answers, and refuses who has no token`);
  if (target.token === undefined) return [reached];
  return [reached, await probeTls(target)];
}

async function probeTls(target: ProxyTarget): Promise<Check> {
  const credentials = Buffer.from(`${target.token}:${target.vault}`).toString("base64");
  try {
    return await connectThrough(target, credentials, async (socket, status) => {
      if (status !== 200) {
        return check("proxy", "tunnel", "failed", `The proxy refuses our token with status ${status}`, {
          hint: "agent-vault auth login, or a new token",
        });
      }
      await handshake(socket, target.rootPem);
      return check("proxy", "tunnel", "ok", "A TLS connection through it ends at the broker, with its certificate");
    });
  } catch (error) {
    return check("proxy", "tunnel", "failed", `TLS through the proxy fails: ${messageOf(error)}`, {
      hint: "another program may stand between this machine and the proxy",
    });
  }
}

/** Opens a tunnel to the probe's host and hands over the socket and the status of the answer. */
async function connectThrough<T>(
  { host, port, hasTls, rootPem, systemRoots }: ProxyTarget,
  credentials: string | undefined,
  work: (socket: Socket, status: number) => Promise<T>,
): Promise<T> {
  const socket = hasTls
    ? connectTls({ host, port, ca: [...splitPem(systemRoots), ...splitPem(rootPem)], ...serverName(host) })
    : connect({ host, port });
  socket.setTimeout(limitMs, () => socket.destroy(new Error(`no answer within ${limitMs / 1000} s`)));
  try {
    const status = await new Promise<number>((resolve, reject) => {
      let head = "";
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("it closed the connection")));
      socket.once(hasTls ? "secureConnect" : "connect", () => {
        const proof = credentials === undefined ? "" : `Proxy-Authorization: Basic ${credentials}\r\n`;
        socket.write(`CONNECT ${probeHost}:443 HTTP/1.1\r\nHost: ${probeHost}:443\r\n${proof}\r\n`);
      });
      socket.on("data", function onData(chunk: Buffer) {
        head += chunk.toString("latin1");
        const end = head.indexOf("\r\n");
        if (end < 0 || (!head.includes("\r\n\r\n") && head.length < 16_384)) return;
        socket.off("data", onData);
        resolve(Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0));
      });
    });
    return await work(socket, status);
  } finally {
    socket.destroy();
  }
}

/** An address is no server name (RFC 6066, section 3). */
function serverName(host: string): { servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {};
}

function handshake(socket: Socket, rootPem: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const secure = connectTls({ socket, servername: probeHost, ca: [...splitPem(rootPem)] }, () => {
      secure.destroy();
      resolve();
    });
    secure.once("error", reject);
  });
}
