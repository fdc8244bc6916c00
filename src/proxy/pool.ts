import type { Authority } from "../net/address.ts";
import type { Outbound, SessionStore } from "../net/outbound.ts";
import type { Deadlines, ProxyTimeouts } from "./deadlines.ts";
import type { Outboxes } from "./outboxes.ts";
import { UpstreamConnection } from "./upstream.ts";

/** Where a connection may be used again: never by another vault, because some servers tie state to it. */
export interface Origin extends Authority {
  readonly vaultId: string;
  readonly scheme: "https" | "http";
}

export function originKey({ vaultId, scheme, host, port }: Origin): string {
  return `${vaultId} ${scheme} ${host} ${port}`;
}

class OriginPool implements SessionStore {
  /** The last one is the one used last: the others may age and go. */
  readonly idle: UpstreamConnection[] = [];
  session: Buffer | undefined;
}

const maxIdlePerOrigin = 512;
/** Origins whose TLS session is remembered without a connection. */
const maxOrigins = 4096;

/** Upstream connections kept for the next request. */
export class Pool {
  readonly #outbound: Outbound;
  readonly #deadlines: Deadlines;
  readonly #idleMs: number;
  readonly #outboxes: Outboxes;
  readonly #origins = new Map<string, OriginPool>();
  #isClosed = false;
  /** Connections used again, and made, since the start. */
  hits = 0;
  dials = 0;

  constructor(outbound: Outbound, deadlines: Deadlines, timeouts: ProxyTimeouts, outboxes: Outboxes) {
    this.#outboxes = outboxes;
    this.#outbound = outbound;
    this.#deadlines = deadlines;
    this.#idleMs = timeouts.poolIdleMs;
  }

  /** An idle connection of this origin, if one is still alive. */
  take(key: string): UpstreamConnection | undefined {
    const idle = this.#origins.get(key)?.idle;
    for (let connection = idle?.pop(); connection; connection = idle?.pop()) {
      connection.deadlineMs = Number.POSITIVE_INFINITY;
      if (connection.isAlive) {
        this.hits++;
        return connection;
      }
      this.#deadlines.forget(connection);
    }
    return undefined;
  }

  /** @throws what `Outbound.connect` and `connectTls` throw. */
  async dial(key: string, origin: Origin): Promise<UpstreamConnection> {
    this.dials++;
    const socket =
      origin.scheme === "https"
        ? await this.#outbound.connectTls(origin, this.#originFor(key))
        : await this.#outbound.connect(origin);
    const connection = new UpstreamConnection(socket, this.#outboxes);
    this.#deadlines.watch(connection);
    socket.once("close", () => this.#drop(key, connection));
    return connection;
  }

  /** Takes a connection back after a complete answer. */
  release(key: string, connection: UpstreamConnection): void {
    const { idle } = this.#originFor(key);
    // One that was being dialled when the pool closed would keep the process alive.
    if (this.#isClosed || idle.length >= maxIdlePerOrigin || !connection.isAlive) {
      connection.destroy();
      return;
    }
    connection.deadlineMs = this.#deadlines.now + this.#idleMs;
    idle.push(connection);
  }

  /** Connections that wait for a request. */
  get idle(): number {
    let idle = 0;
    for (const origin of this.#origins.values()) idle += origin.idle.length;
    return idle;
  }

  close(): void {
    this.#isClosed = true;
    for (const { idle } of this.#origins.values()) for (const connection of idle) connection.destroy();
    this.#origins.clear();
  }

  #drop(key: string, connection: UpstreamConnection): void {
    this.#deadlines.forget(connection);
    const idle = this.#origins.get(key)?.idle;
    const at = idle?.indexOf(connection) ?? -1;
    if (at !== -1) idle?.splice(at, 1);
  }

  #originFor(key: string): OriginPool {
    const known = this.#origins.get(key);
    if (known) return known;
    if (this.#origins.size >= maxOrigins) {
      for (const [other, { idle }] of this.#origins) {
        if (idle.length === 0) this.#origins.delete(other);
      }
    }
    const origin = new OriginPool();
    this.#origins.set(key, origin);
    return origin;
  }
}
