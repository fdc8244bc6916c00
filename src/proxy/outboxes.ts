import type { Socket } from "node:net";
import { Outbox } from "./outbox.ts";

const slabBytes = 64 * 1024;
/** With fewer requests under way there is hardly ever another that has something to write in the same turn. */
const gathersFrom = 4;

/** Memory that the outboxes write into, one after the other. A slab goes when the last socket has sent its part. */
class Slab {
  bytes: Buffer = Buffer.allocUnsafeSlow(slabBytes);
  at = 0;

  renew(atLeast: number): void {
    this.bytes = Buffer.allocUnsafeSlow(Math.max(slabBytes, atLeast));
    this.at = 0;
  }
}

/** What the outboxes of one proxy share: memory, and the turn in which they write. */
export class Outboxes {
  readonly slab = new Slab();
  #underWay = 0;
  #gathered: Outbox[] = [];

  for(socket: Socket): Outbox {
    return new Outbox(socket, this);
  }

  /** A request is under way until `leave`. */
  enter(): void {
    this.#underWay += 1;
  }

  leave(): void {
    this.#underWay -= 1;
  }

  /**
   * Whether writes wait for the end of the turn. Each write wakes the process at its other end, if that sleeps, which
   * costs more than the write itself; the second of a burst finds it awake.
   */
  get gathers(): boolean {
    return this.#underWay >= gathersFrom;
  }

  /** Calls `onTurn` once, when what has arrived by now on other connections was handled. */
  gather(outbox: Outbox): void {
    if (this.#gathered.push(outbox) === 1) setImmediate(this.#write);
  }

  readonly #write = (): void => {
    const gathered = this.#gathered;
    this.#gathered = [];
    for (const outbox of gathered) outbox.onTurn();
  };
}
