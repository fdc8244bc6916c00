import type { Duplex } from "node:stream";
import { closeFrame, type Sender } from "./frame.ts";
import type { Frames } from "./frame-watch.ts";
import { closeCodeOf } from "./inspect.ts";

export interface JoinOptions {
  readonly agent: Duplex;
  readonly upstream: Duplex;
  /** For the agent's frames. */
  readonly toUpstream: Frames;
  /** For the upstream's frames. */
  readonly toAgent: Frames;
  /** Bytes that arrived, for deadlines and the journal. */
  readonly onBytes: (from: "agent" | "upstream", bytes: number) => void;
  /** Once, when it is over: with what ended it from the middle, if anything did. */
  readonly onEnd: (failure: Error | undefined) => void;
}

/** What may wait in a socket for a slow peer before its source is stopped. */
const maxWaitingBytes = 128 * 1024;

/** Two sockets that have both switched to WebSocket, with their frames looked at, or rewritten, on the way. */
export class JoinedWebSockets {
  readonly #options: JoinOptions;
  #isEnding = false;
  #isOver = false;

  /** @param heldBack what the agent sent already, @param early what the upstream did. */
  constructor(options: JoinOptions, heldBack: Buffer, early: Buffer) {
    this.#options = options;
    const { agent, upstream, toUpstream, toAgent } = options;
    this.#join(agent, upstream, toUpstream, "agent");
    this.#join(upstream, agent, toAgent, "upstream");
    if (early.length > 0) this.#forward(early, upstream, agent, toAgent, "upstream");
    if (heldBack.length > 0) this.#forward(heldBack, agent, upstream, toUpstream, "agent");
    agent.resume();
    upstream.resume();
  }

  /** Can both sides be told goodbye now? */
  get isBetweenFrames(): boolean {
    return this.#options.toUpstream.isBetweenFrames && this.#options.toAgent.isBetweenFrames;
  }

  /**
   * Says goodbye to both sides and closes behind that, such as with 1001 when the broker goes away. The caller destroys
   * the sockets when they take too long.
   */
  close(code: number, failure?: Error): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const { agent, upstream, toUpstream, toAgent, onEnd } = this.#options;
    sayGoodbye(upstream, toUpstream, code, "client");
    sayGoodbye(agent, toAgent, code, "server");
    // Whatever still comes is read and dropped, so that the goodbye is not lost to a reset.
    agent.resume();
    upstream.resume();
    this.#isOver = true;
    onEnd(failure);
  }

  #join(from: Duplex, to: Duplex, frames: Frames, name: "agent" | "upstream"): void {
    from.on("data", (chunk: Buffer) => this.#forward(chunk, from, to, frames, name));
    to.on("drain", () => from.resume());
    // What was received is still delivered; the Close frames travelled as data.
    from.on("end", () => to.end());
    from.on("close", () => {
      to.end();
      // It may have been told to wait for the one that is gone.
      to.resume();
      if (this.#options.agent.destroyed && this.#options.upstream.destroyed) this.#finish();
    });
    from.on("error", () => {
      to.destroy();
      from.destroy();
      this.#finish();
    });
  }

  #forward(chunk: Buffer, from: Duplex, to: Duplex, frames: Frames, name: "agent" | "upstream"): void {
    if (this.#isEnding || !to.writable) return;
    this.#options.onBytes(name, chunk.length);
    const failure = passInto(to, frames, chunk);
    if (failure !== undefined) {
      this.close(closeCodeOf(failure), failure);
      return;
    }
    if (to.writableLength > maxWaitingBytes) from.pause();
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isEnding = true;
    this.#options.onEnd(undefined);
  }
}

/** A bug of ours ends this connection: what escapes from a socket's event would end the process. */
function passInto(to: Duplex, frames: Frames, chunk: Buffer): Error | undefined {
  try {
    const parts = frames.push(chunk);
    if (parts.length > 1) to.cork();
    for (const part of parts) to.write(part);
    if (parts.length > 1) to.uncork();
    return frames.failure;
  } catch (error) {
    return error instanceof Error ? error : new Error("Rewriting a message failed", { cause: error });
  }
}

function sayGoodbye(to: Duplex, frames: Frames, code: number, sender: Sender): void {
  if (!to.writable) return;
  // In the middle of another frame it would be read as something else, and behind a Close it is not read.
  if (frames.isBetweenFrames && !frames.isClosing) to.end(closeFrame(code, "", sender));
  else to.end();
}
