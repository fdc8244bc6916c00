import type { Outbound, SessionStore } from "../net/outbound.ts";
import { speaksHttp2 } from "../runtime/tls.ts";
import type { Deadlines, ProxyTimeouts } from "./deadlines.ts";
import { UpstreamSession } from "./http2/upstream-session.ts";
import { UpstreamStream } from "./http2/upstream-stream.ts";
import type { Outboxes } from "./outboxes.ts";
import type { Origin, Pool } from "./pool.ts";
import type { UpstreamPool, UpstreamSide } from "./sides.ts";

/** How long an origin that spoke HTTP/1.1 is not asked for HTTP/2 again. */
const rememberHttp1Ms = 10 * 60_000;
/** Origins that are remembered without a connection. */
const maxOrigins = 4096;

class SharedOrigin implements SessionStore {
  readonly sessions: UpstreamSession[] = [];
  session: Buffer | undefined;
  /** On the clock of `Deadlines.now`. */
  isHttp1UntilMs = Number.NEGATIVE_INFINITY;
  /** A connection that is being made; whoever else wants one waits for it. */
  dialing: Promise<void> | undefined;
}

/**
 * Connections of HTTP/2 to upstreams, each for many requests at a time: of one origin and one vault, never more. Origins
 * that do not speak it are served from the pool of HTTP/1.
 */
export class SharedPool implements UpstreamPool {
  readonly #outbound: Outbound;
  readonly #pool: Pool;
  readonly #deadlines: Deadlines;
  readonly #timeouts: ProxyTimeouts;
  readonly #outboxes: Outboxes;
  readonly #onCrash: (error: unknown) => void;
  readonly #origins = new Map<string, SharedOrigin>();
  #isClosed = false;

  constructor(options: {
    readonly outbound: Outbound;
    readonly pool: Pool;
    readonly deadlines: Deadlines;
    readonly timeouts: ProxyTimeouts;
    readonly outboxes: Outboxes;
    /** A bug of ours ended a connection. */
    readonly onCrash: (error: unknown) => void;
  }) {
    this.#outbound = options.outbound;
    this.#pool = options.pool;
    this.#deadlines = options.deadlines;
    this.#timeouts = options.timeouts;
    this.#outboxes = options.outboxes;
    this.#onCrash = options.onCrash;
  }

  /** Connections that are open. */
  get sessions(): number {
    let count = 0;
    for (const { sessions } of this.#origins.values()) count += sessions.length;
    return count;
  }

  take(key: string): UpstreamSide | undefined {
    const origin = this.#origins.get(key);
    if (origin === undefined) return undefined;
    return this.#takeStream(origin) ?? (this.#isHttp1(origin) ? this.#pool.take(key) : undefined);
  }

  #takeStream({ sessions }: SharedOrigin): UpstreamStream | undefined {
    const session = sessions.find(({ hasRoom }) => hasRoom);
    if (session === undefined) return undefined;
    this.#pool.hits++;
    return new UpstreamStream(session);
  }

  async dial(key: string, target: Origin): Promise<UpstreamSide> {
    const origin = this.#originFor(key);
    for (;;) {
      const ready = this.#takeStream(origin);
      if (ready !== undefined) return ready;
      if (target.scheme === "http" || this.#isHttp1(origin)) return await this.#pool.dial(key, target);
      if (origin.dialing === undefined) {
        const opened = await this.#open(key, origin, target);
        if (opened !== undefined) return opened;
      } else await origin.dialing;
    }
  }

  release(key: string, upstream: UpstreamSide): void {
    if (upstream instanceof UpstreamStream) upstream.destroy();
    else this.#pool.release(key, upstream);
  }

  close(): void {
    this.#isClosed = true;
    for (const { sessions } of this.#origins.values()) for (const session of [...sessions]) session.destroy();
    this.#origins.clear();
  }

  #isHttp1(origin: SharedOrigin): boolean {
    return origin.isHttp1UntilMs > this.#deadlines.now;
  }

  /** Makes a connection for all who wait. @throws for all of them. */
  async #open(key: string, origin: SharedOrigin, target: Origin): Promise<UpstreamSide | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    origin.dialing = promise;
    promise.catch(() => undefined); // nobody may be waiting
    try {
      this.#pool.dials++;
      const socket = await this.#outbound.connectTls(target, origin, ["h2", "http/1.1"]);
      if (!speaksHttp2(socket)) {
        origin.isHttp1UntilMs = this.#deadlines.now + rememberHttp1Ms;
        origin.dialing = undefined;
        resolve();
        return this.#pool.adopt(key, socket);
      }
      const session = new UpstreamSession({
        socket,
        outboxes: this.#outboxes,
        deadlines: this.#deadlines,
        timeouts: this.#timeouts,
        onCrash: this.#onCrash,
        onOver: (over) => forget(origin.sessions, over),
      });
      origin.sessions.push(session);
      // One that was being dialled when the pool closed would keep the process alive.
      if (this.#isClosed) session.destroy();
      void session.settled.then(() => {
        // Nothing can ever be asked on it; kept, each request would leave one behind.
        if (!session.takesStreams) session.destroy();
        origin.dialing = undefined;
        resolve();
      });
      return new UpstreamStream(session);
    } catch (error) {
      origin.dialing = undefined;
      reject(error);
      throw error;
    }
  }

  #originFor(key: string): SharedOrigin {
    const known = this.#origins.get(key);
    if (known) return known;
    if (this.#origins.size >= maxOrigins) {
      for (const [other, { sessions, dialing }] of this.#origins) {
        if (sessions.length === 0 && dialing === undefined) this.#origins.delete(other);
      }
    }
    const origin = new SharedOrigin();
    this.#origins.set(key, origin);
    return origin;
  }
}

function forget(sessions: UpstreamSession[], session: UpstreamSession): void {
  const at = sessions.indexOf(session);
  if (at !== -1) sessions.splice(at, 1);
}
