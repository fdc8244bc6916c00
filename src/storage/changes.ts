/**
 * Tells whoever keeps something in memory that it is out of date: in this process right after the commit, in other
 * processes within a second, and on PostgreSQL at once by NOTIFY.
 *
 * Every announced change raises `instance.change_counter` in its own transaction. A process that sees the counter
 * move by more than it moved it itself, and has not been told what happened, drops everything it remembers.
 */
import { sql, type Transaction } from "kysely";
import { randomHex } from "../crypto/token.ts";
import type { Logger } from "../log.ts";
import type { Database } from "./database.ts";
import type { Schema } from "./schema.ts";

export type Change =
  | { readonly kind: "vault"; readonly vaultId: string }
  | { readonly kind: "session"; readonly publicId: string }
  | { readonly kind: "actor"; readonly actorId: string }
  | { readonly kind: "settings" }
  /** The root certificates. */
  | { readonly kind: "authority" }
  /** `number` is that of the proposal within its vault. */
  | { readonly kind: "proposal"; readonly vaultId: string; readonly number: number }
  | { readonly kind: "everything" };

/** To be called inside the transaction that makes the change; it is told to watchers after the commit. */
export type Announce = (change: Change) => void;

const pollIntervalMs = 1_000;
/** NOTIFY takes less than 8,000 bytes; a longer story is told as "everything". */
const maxMessageBytes = 7_900;

interface Message {
  readonly from: string;
  readonly counter: number;
  readonly changes: readonly Change[];
}

/** What a transaction has yet to do and to tell. */
interface Collected {
  readonly changes: Change[];
  readonly last: (() => Promise<void>)[];
}

export class Changes {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #self = randomHex(8);
  readonly #watchers = new Set<(change: Change) => void>();
  readonly #collected = new WeakMap<Transaction<Schema>, Collected>();
  /** The counter up to which this process knows what happened; undefined before the first look. */
  #seen: number | undefined;
  /** Counters above `#seen` that are accounted for but wait for one below them. */
  readonly #accounted = new Set<number>();
  #checkedAtMs = 0;
  #isFailing = false;
  #isStopped = true;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #polling: Promise<void> = Promise.resolve();
  #unlisten: Promise<() => Promise<void>> | undefined;

  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
  }

  /** A transaction whose changes are told after it committed, and not at all when it did not. */
  async transaction<T>(run: (tx: Transaction<Schema>, announce: Announce) => Promise<T>): Promise<T> {
    const changes: Change[] = [];
    const last: (() => Promise<void>)[] = [];
    let counter: number | undefined;
    const result = await this.#database.transaction(async (tx) => {
      this.#collected.set(tx, { changes, last });
      const value = await run(tx, (change) => this.announce(tx, change));
      for (const work of last) await work();
      // Last, because on PostgreSQL this row is locked from here to the commit.
      if (changes.length > 0) counter = await this.#raiseCounter(tx, changes);
      return value;
    });
    if (counter !== undefined) this.#account(counter);
    for (const change of changes) this.#tell(change);
    return result;
  }

  /** As the `announce` of `transaction`, for code that was handed its `tx`. @throws for any other transaction. */
  announce(tx: Transaction<Schema>, change: Change): void {
    this.#of(tx, "announce").changes.push(change);
  }

  /**
   * Runs `work` at the end of the transaction, when all its other locks are held: for rows that every writer needs,
   * which are then locked only for a moment and always last. @throws for any other transaction.
   */
  beforeCommit(tx: Transaction<Schema>, work: () => Promise<void>): void {
    this.#of(tx, "beforeCommit").last.push(work);
  }

  #of(tx: Transaction<Schema>, what: string): Collected {
    const collected = this.#collected.get(tx);
    if (!collected) throw new Error(`${what} needs a transaction that was begun with Changes.transaction`);
    return collected;
  }

  /** Calls `watcher` for every change, also those made elsewhere. Returns the function that ends it. */
  watch(watcher: (change: Change) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * When the database last confirmed that this process knows of every change, in epoch milliseconds; 0 for never.
   * Whoever decides from memory can refuse when this is too long ago.
   */
  get checkedAtMs(): number {
    return this.#checkedAtMs;
  }

  /** Begins to look for changes made by others. Does not keep the process alive. */
  start(): void {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#unlisten = this.#database.channel
      ?.listen(
        (message) => this.#receive(message),
        () => void this.poll(),
      )
      .catch((error: unknown) => {
        this.#log.warn("changes arrive by polling only", { error });
        return async () => undefined;
      });
    const loop = async () => {
      await this.poll();
      if (this.#isStopped) return;
      this.#timer = setTimeout(loop, pollIntervalMs);
      this.#timer.unref();
    };
    void loop();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    const unlisten = await this.#unlisten;
    this.#unlisten = undefined;
    await unlisten?.();
    await this.#polling;
  }

  /** Looks once, now. Never rejects: a database that is away is logged when it goes and when it is back. */
  poll(): Promise<void> {
    this.#polling = this.#polling.then(() => this.#look());
    return this.#polling;
  }

  async #look(): Promise<void> {
    const askedAtMs = Date.now();
    try {
      const row = await this.#database.db.selectFrom("instance").select("change_counter").executeTakeFirstOrThrow();
      if (this.#isFailing) this.#log.info("changes are visible again");
      this.#isFailing = false;
      this.#checkedAtMs = askedAtMs;
      this.#catchUp(row.change_counter);
    } catch (error) {
      if (!this.#isFailing) this.#log.warn("cannot see changes made elsewhere", { error });
      this.#isFailing = true;
    }
  }

  #catchUp(counter: number): void {
    const isFirst = this.#seen === undefined;
    if (this.#seen !== undefined && counter <= this.#seen) return;
    this.#seen = counter;
    this.#advance();
    // What was remembered before the first look may be older than the counter.
    if (!isFirst || this.#watchers.size > 0) this.#tell({ kind: "everything" });
  }

  #account(counter: number): void {
    if (this.#seen === undefined || counter <= this.#seen) return;
    this.#accounted.add(counter);
    this.#advance();
  }

  #advance(): void {
    if (this.#seen === undefined) return;
    for (const counter of this.#accounted) if (counter <= this.#seen) this.#accounted.delete(counter);
    while (this.#accounted.delete(this.#seen + 1)) this.#seen += 1;
  }

  #receive(text: string): void {
    const message = parseMessage(text);
    if (message?.from === this.#self) return;
    for (const change of message?.changes ?? [{ kind: "everything" } as const]) this.#tell(change);
    if (message) this.#account(message.counter);
  }

  async #raiseCounter(tx: Transaction<Schema>, changes: readonly Change[]): Promise<number> {
    const { change_counter: counter } = await tx
      .updateTable("instance")
      .set({ change_counter: sql<number>`change_counter + 1` })
      .returning("change_counter")
      .executeTakeFirstOrThrow();
    const { channel } = this.#database;
    if (channel) {
      const message: Message = { from: this.#self, counter, changes };
      const text = JSON.stringify(message);
      const short = JSON.stringify({ ...message, changes: [{ kind: "everything" }] });
      await channel.notify(tx, Buffer.byteLength(text) <= maxMessageBytes ? text : short);
    }
    return counter;
  }

  #tell(change: Change): void {
    for (const watcher of this.#watchers) {
      try {
        watcher(change);
      } catch (error) {
        // The change is committed: the others must still hear of it.
        this.#log.error("a watcher of changes failed", { change: change.kind, error });
      }
    }
  }
}

/** Undefined when the text is not a message of ours, which is then taken for a change of unknown kind. */
function parseMessage(text: string): Message | undefined {
  try {
    const value = JSON.parse(text) as Partial<Message> | null;
    const isMessage =
      typeof value?.from === "string" && typeof value.counter === "number" && Array.isArray(value.changes);
    return isMessage ? (value as Message) : undefined;
  } catch {
    return undefined;
  }
}
