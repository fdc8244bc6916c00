import type { Duplex } from "node:stream";
import type { Deadlines, Expiring } from "../deadlines.ts";

/** What a side gets to close after the other one did. */
const lingerMs = 5_000;

export interface Supervised {
  readonly agent: Duplex;
  readonly upstream: Duplex;
  readonly deadlines: Deadlines;
  readonly idleMs: number;
  /** Nothing came for too long. */
  readonly onIdle: () => void;
}

/** Watches over two joined sockets until both are closed. */
export class Supervision implements Expiring {
  deadlineMs: number;
  #isLingering = false;
  readonly #supervised: Supervised;

  constructor(supervised: Supervised) {
    const { deadlines, idleMs, agent, upstream } = supervised;
    this.#supervised = supervised;
    this.deadlineMs = deadlines.now + idleMs;
    deadlines.watch(this);
    for (const socket of [agent, upstream]) {
      socket.on("close", () => {
        if (agent.destroyed && upstream.destroyed) deadlines.forget(this);
        else this.deadlineMs = Math.min(this.deadlineMs, deadlines.now + lingerMs);
      });
    }
  }

  /** Something came. */
  touch(): void {
    const { deadlines, idleMs } = this.#supervised;
    if (!this.#isLingering) this.deadlineMs = deadlines.now + idleMs;
  }

  /** It is over: the sockets get a moment to say goodbye. */
  linger(): void {
    this.#isLingering = true;
    this.deadlineMs = this.#supervised.deadlines.now + lingerMs;
  }

  onDeadline(): void {
    if (this.#isLingering) this.#destroy();
    else this.#supervised.onIdle();
  }

  #destroy(): void {
    const { agent, upstream, deadlines } = this.#supervised;
    deadlines.forget(this);
    agent.destroy();
    upstream.destroy();
  }
}
