import type { Socket } from "node:net";
import type { Deadlines, Expiring } from "../deadlines.ts";

/** A WebSocket can stay open for days, so what it was opened with is looked at again and again. */
const recheckMs = 1_000;
/** What a side gets to close after the other one did. */
const lingerMs = 5_000;

export interface Supervised {
  readonly agent: Socket;
  readonly upstream: Socket;
  readonly deadlines: Deadlines;
  readonly idleMs: number;
  /** May the agent still be here? Asked about once a second. */
  readonly isAllowed: () => boolean | Promise<boolean>;
  /** It has to end: nothing came for too long, or the right to be here is gone. */
  readonly onVerdict: (verdict: "idle" | "not_allowed") => void;
}

/** Watches over two joined sockets until both are closed. */
export class Supervision implements Expiring {
  deadlineMs: number;
  #idleUntilMs: number;
  #isLingering = false;
  readonly #supervised: Supervised;

  constructor(supervised: Supervised) {
    const { deadlines, idleMs, agent, upstream } = supervised;
    this.#supervised = supervised;
    this.#idleUntilMs = deadlines.now + idleMs;
    this.deadlineMs = Math.min(this.#idleUntilMs, deadlines.now + recheckMs);
    deadlines.watch(this);
    for (const socket of [agent, upstream]) {
      socket.on("close", () => {
        if (agent.destroyed && upstream.destroyed) deadlines.forget(this);
        else this.#idleUntilMs = Math.min(this.#idleUntilMs, deadlines.now + lingerMs);
      });
    }
  }

  /** Something came. */
  touch(): void {
    this.#idleUntilMs = this.#supervised.deadlines.now + this.#supervised.idleMs;
  }

  /** It is over: the sockets get a moment to say goodbye. */
  linger(): void {
    this.#isLingering = true;
    this.deadlineMs = this.#supervised.deadlines.now + lingerMs;
  }

  onDeadline(): void {
    const { deadlines, isAllowed, onVerdict } = this.#supervised;
    if (this.#isLingering) {
      this.#destroy();
      return;
    }
    if (deadlines.now >= this.#idleUntilMs) {
      onVerdict("idle");
      return;
    }
    this.deadlineMs = Math.min(this.#idleUntilMs, deadlines.now + recheckMs);
    const allowed = isAllowed();
    if (allowed === true) return;
    void Promise.resolve(allowed).then((isStill) => {
      if (!isStill && !this.#isLingering) onVerdict("not_allowed");
    });
  }

  #destroy(): void {
    const { agent, upstream, deadlines } = this.#supervised;
    deadlines.forget(this);
    agent.destroy();
    upstream.destroy();
  }
}
