/**
 * Checks a chain entry by entry, with nothing but the public keys: the same for a database and for an export. It stops at
 * the first thing that is wrong and says which entry that is.
 */
import type { VerifyingKey } from "../../crypto/signing.ts";
import { type Checkpoint, checkpointStatement } from "./checkpoint.ts";
import { type AuditRow, genesisHash, hashOf } from "./entry.ts";

export interface Problem {
  /** Id of the first entry that is wrong, or missing. */
  readonly entry: number;
  readonly kind: "altered" | "missing" | "misplaced" | "rewritten" | "checkpoint" | "format";
  /** One sentence. */
  readonly message: string;
}

/** Where a chain begins: before its first entry, or at the checkpoint up to which it was pruned. */
export interface ChainStart {
  readonly id: number;
  readonly hash: string;
}

export const genesis: ChainStart = { id: 0, hash: genesisHash };

export interface ChainOptions {
  readonly instanceId: string;
  /** The keys that may have signed, by id. */
  readonly keys: ReadonlyMap<string, VerifyingKey>;
  readonly start?: ChainStart;
}

export class Chain {
  readonly #options: ChainOptions;
  #last: ChainStart;
  /** Entries up to here are covered by a checkpoint. */
  #signedId: number;
  readonly #signedIds = new Set<number>();
  #entries = 0;

  constructor(options: ChainOptions) {
    this.#options = options;
    this.#last = options.start ?? genesis;
    this.#signedId = this.#last.id;
  }

  /** The same check, of a chain that begins somewhere else. */
  from(start: ChainStart): Chain {
    return new Chain({ ...this.#options, start });
  }

  get last(): ChainStart {
    return this.#last;
  }

  get entries(): number {
    return this.#entries;
  }

  /** Checkpoints that hold. */
  get checkpoints(): number {
    return this.#signedIds.size;
  }

  /** The last entry that a checkpoint covers. */
  get signedId(): number {
    return this.#signedId;
  }

  /** @returns what is wrong with it. */
  entry(row: AuditRow): Problem | undefined {
    const { id: lastId, hash: lastHash } = this.#last;
    const expected = lastId + 1;
    if (row.id > expected) {
      return problem(expected, "missing", `Entry ${expected} is missing: entry ${row.id} stands in its place`);
    }
    if (row.id < expected) {
      return problem(
        row.id,
        "misplaced",
        `Entry ${row.id} stands after entry ${lastId}: it is out of order or doubled`,
      );
    }
    if (hashOf(row) !== row.hash) {
      return problem(row.id, "altered", `Entry ${row.id} was altered, or is not the one that stood there`);
    }
    if (row.previous_hash !== lastHash) {
      // It is whole in itself, so it is the one before that is not what it was.
      const first = Math.max(lastId, 1);
      const what = lastId === 0 ? "is not the beginning of a chain" : `does not follow from entry ${lastId}`;
      return problem(first, "altered", `Entry ${row.id} ${what}: one of the two was replaced`);
    }
    this.#last = { id: row.id, hash: row.hash };
    this.#entries++;
    return undefined;
  }

  /** To be given right after its entry. @returns what is wrong with it. */
  async checkpoint(checkpoint: Checkpoint): Promise<Problem | undefined> {
    const { audit_id: id, key_id: keyId } = checkpoint;
    if (id > this.#last.id) {
      const first = this.#last.id + 1;
      return problem(first, "missing", `Entries ${first} to ${id} are missing: a checkpoint says that they were there`);
    }
    if (id < this.#last.id) {
      return problem(id, "misplaced", `The checkpoint at entry ${id} stands after entry ${this.#last.id}`);
    }
    const key = this.#options.keys.get(keyId);
    if (key === undefined) {
      return problem(id, "checkpoint", `The checkpoint at entry ${id} was signed by another key (${keyId})`);
    }
    const statement = checkpointStatement(this.#options.instanceId, checkpoint);
    if (!(await key.verifies(statement, checkpoint.signature))) {
      return problem(id, "checkpoint", `The signature of the checkpoint at entry ${id} is wrong`);
    }
    if (checkpoint.hash !== this.#last.hash) {
      const first = this.#signedId + 1;
      const which = first === id ? `Entry ${id} was` : `Entries ${first} to ${id}, or some of them, were`;
      return problem(first, "rewritten", `${which} rewritten after a checkpoint had been signed`);
    }
    this.#signedId = id;
    // One that was kept elsewhere may be the same as one of the log.
    this.#signedIds.add(id);
    return undefined;
  }

  /** @param end where the chain is said to end. @returns what is missing. */
  end(end: ChainStart): Problem | undefined {
    const { id, hash } = this.#last;
    if (end.id > id) {
      const which = end.id === id + 1 ? `Entry ${end.id} is` : `Entries ${id + 1} to ${end.id} are`;
      return problem(id + 1, "missing", `${which} missing at the end`);
    }
    if (end.id < id) return problem(end.id + 1, "misplaced", `The chain should end at entry ${end.id}`);
    if (end.hash !== hash) return problem(id, "altered", `Entry ${id} is not the one that the chain ended with`);
    return undefined;
  }
}

export function problem(entry: number, kind: Problem["kind"], message: string): Problem {
  return { entry, kind, message };
}
