import { chmod, lstat, mkdtemp, rename, rmdir, unlink } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { Conflict, InvalidInput, messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";

/** Where the proxy takes connections: on a port, at a path, or both. */
export interface ListeningOptions {
  readonly host: string;
  /** 0 lets the system choose; undefined for none. */
  readonly port: number | undefined;
  readonly socket?: { readonly path: string; readonly mode: number } | undefined;
  readonly log: Logger;
}

export interface Listening {
  /** 0 where there is none. */
  readonly port: number;
  /** Takes no more connections; those that are open stay. */
  stop(): Promise<void>;
}

/**
 * Opens all that is asked for, or nothing.
 * @throws {Conflict} `port_in_use`, `socket_in_use`, `socket_path_taken`. @throws {InvalidInput} `bad_socket_path`.
 * @throws whatever else the system has against listening on the port.
 */
export async function openListeners(
  { host, port, socket, log }: ListeningOptions,
  { onPort, onSocket }: { readonly onPort: (socket: Socket) => void; readonly onSocket: (socket: Socket) => void },
): Promise<Listening> {
  const tcp = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }, onPort);
  const unix = createServer(onSocket);
  const removeSocket = socket && (await listenOnSocket(unix, socket));
  const stop = async () => {
    tcp.close();
    unix.close();
    await removeSocket?.();
  };
  try {
    if (port !== undefined) await listenOnPort(tcp, { host, port });
  } catch (error) {
    await stop();
    throw error;
  }
  // A connection that could not be accepted (no descriptors left) is no reason to end.
  const warn = (error: unknown) => log.warn("the proxy's listener failed", { error: messageOf(error) });
  for (const server of [tcp, unix]) server.on("error", warn);
  return { port: port === undefined ? 0 : (tcp.address() as AddressInfo).port, stop };
}

async function listenOnPort(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  await listen(server, { host, port, backlog: 1024 }, (cause) =>
    cause.code === "EADDRINUSE"
      ? new Conflict("port_in_use", `Port ${port} on ${host} is in use: choose another with --mitm-port`, { cause })
      : cause,
  );
}

/** `sun_path` has 108 bytes on Linux and 104 on macOS, with a zero at the end; ours are made in a directory beside. */
const maxPathBytes = 103;
const temporaryPrefix = ".av-";

/**
 * Listens on a Unix socket that is there with its mode, or not at all: it is made in a directory that only we can enter
 * and moved to its place from there. One that nobody listens on any more is replaced.
 *
 * @returns what removes it again, unless another took its place.
 * @throws {Conflict} `socket_in_use`, `socket_path_taken`. @throws {InvalidInput} `bad_socket_path`.
 */
async function listenOnSocket(
  server: Server,
  { path, mode }: { readonly path: string; readonly mode: number },
): Promise<() => Promise<void>> {
  await requireFree(path);
  const directory = await makePrivateDirectory(path);
  const made = join(directory, "s");
  try {
    await listen(server, { path: made, backlog: 1024 }, (cause) => cannotListen(path, cause));
    await chmod(made, mode);
    const { ino } = await lstat(made);
    await rename(made, path);
    return () => removeOwn(path, ino);
  } catch (error) {
    server.close();
    await unlink(made).catch(() => undefined);
    throw error;
  } finally {
    await rmdir(directory).catch(() => undefined);
  }
}

function listen(
  server: Server,
  where: Parameters<Server["listen"]>[0] & object,
  explain: (cause: NodeJS.ErrnoException) => Error,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException) => reject(explain(cause));
    server.once("error", onError);
    server.listen(where, () => {
      server.removeListener("error", onError);
      resolve();
    });
  });
}

/** What lies there may be somebody's file, or a server at work: neither is ours to remove. */
async function requireFree(path: string): Promise<void> {
  const longest = join(dirname(path), `${temporaryPrefix}xxxxxx`, "s");
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(longest)) > maxPathBytes) {
    throw new InvalidInput("bad_socket_path", `${path} is too long for a socket`, {
      hint: `give AGENT_VAULT_PROXY_SOCKET a path of at most ${maxPathBytes - 10} bytes`,
    });
  }
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw cannotListen(path, error);
  });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new Conflict("socket_path_taken", `${path} exists and is no socket; it was left as it is`, {
      hint: "give AGENT_VAULT_PROXY_SOCKET another path",
    });
  }
  if (await answers(path)) {
    throw new Conflict("socket_in_use", `Another program listens on ${path}`, {
      hint: "stop it, or give AGENT_VAULT_PROXY_SOCKET another path",
    });
  }
}

/** A socket whose program is gone refuses; one that we may not write to is taken for alive. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}

async function makePrivateDirectory(path: string): Promise<string> {
  try {
    return await mkdtemp(join(dirname(path), temporaryPrefix));
  } catch (error) {
    throw cannotListen(path, error);
  }
}

async function removeOwn(path: string, ino: number): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() && found.ino === ino) await unlink(path).catch(() => undefined);
}

function cannotListen(path: string, cause: unknown): InvalidInput {
  return new InvalidInput("bad_socket_path", `Cannot listen on ${path}: ${messageOf(cause)}`, {
    hint: "the directory has to exist, and this user has to be allowed to write to it",
    cause,
  });
}
