/** Signs how far the chain has come, from time to time. The key is made at the first start and sealed. */
import type { Transaction } from "kysely";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { createSigningKey, loadSigningKey, sign, VerifyingKey } from "../../crypto/signing.ts";
import { Corrupt, messageOf } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Clock } from "../clock.ts";
import { appendEntries, signed } from "./append.ts";
import { server } from "./author.ts";
import { Chain, type ChainStart, genesis, type Problem } from "./chain.ts";
import { type Checkpoint, checkpointStatement } from "./checkpoint.ts";
import type { KeptCheckpoints } from "./kept-checkpoints.ts";

const intervalMs = 5_000;
const rowsPerRead = 500;

export interface PublicKey {
  readonly id: string;
  readonly pem: string;
}

interface SigningKey extends PublicKey {
  readonly privateKey: CryptoKey;
  readonly instanceId: string;
}

export class Checkpoints {
  readonly #database: Database;
  readonly #keyring: Keyring;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #kept: KeptCheckpoints | undefined;
  #opening: Promise<SigningKey> | undefined;
  /** Where the chain ended when this process last looked: what it has seen cannot be taken back unnoticed. */
  #seen: ChainStart | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: {
    readonly database: Database;
    readonly keyring: Keyring;
    readonly clock: Clock;
    readonly log: Logger;
    /** Where each checkpoint is kept besides the database. */
    readonly kept?: KeptCheckpoints | undefined;
  }) {
    this.#database = options.database;
    this.#keyring = options.keyring;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#kept = options.kept;
  }

  /** The key that signs; made when there is none. @throws {Corrupt} when the stored one does not open. */
  async publicKey(): Promise<PublicKey> {
    const { id, pem } = await this.#key();
    return { id, pem };
  }

  /**
   * Signs the end of the chain, unless that is done already. First it is checked that the chain goes on from where this
   * process saw it last, or else from the last checkpoint: a broken chain is never signed.
   * @returns what is wrong with the chain.
   */
  sign(): Promise<Problem | undefined> {
    // One after the other: what one has seen must not be ahead of what another is still looking at.
    const turn = this.#turn.then(() => this.#signEnd());
    this.#turn = turn.then(
      () => undefined,
      () => undefined, // whoever asked is told
    );
    return turn;
  }

  async #signEnd(): Promise<Problem | undefined> {
    // Before the head: another process may append and sign at any time, and nothing is signed ahead of the head.
    const signed = await this.#last();
    const head = await this.#database.db.selectFrom("audit_head").selectAll().executeTakeFirstOrThrow();
    const end = { id: head.last_id, hash: head.last_hash };
    if (end.id === 0 && signed.id === 0 && this.#seen === undefined) return undefined;
    const problem = (await this.#compareWithKept(end)) ?? (await this.#check(this.#seen ?? signed, end));
    if (problem !== undefined) return problem;
    if (signed.id < end.id) await this.#insert(await this.#key(), end.id, end.hash);
    this.#seen = end;
    return undefined;
  }

  /** Signs every five seconds while there is something new. @returns what stops it, after signing once more. */
  start(): () => Promise<void> {
    const turn = async () => {
      try {
        const problem = await this.sign();
        if (problem !== undefined) {
          this.#log.error("THE AUDIT LOG WAS TAMPERED WITH and is not signed any further", {
            entry: problem.entry,
            problem: problem.message,
            try: "agent-vault audit verify",
          });
        }
      } catch (error) {
        this.#log.warn("the audit log could not be signed", { error: messageOf(error) });
      }
    };
    let running = turn();
    const timer = setInterval(() => {
      running = running.then(turn);
    }, intervalMs);
    timer.unref();
    return async () => {
      clearInterval(timer);
      await running;
      await turn();
    };
  }

  async #check(start: ChainStart, end: ChainStart): Promise<Problem | undefined> {
    const chain = new Chain({ instanceId: "", keys: new Map(), start });
    while (chain.last.id < end.id) {
      const rows = await this.#database.db
        .selectFrom("audit_log")
        .selectAll()
        .where("id", ">", chain.last.id)
        .where("id", "<=", end.id)
        .orderBy("id")
        .limit(rowsPerRead)
        .execute();
      if (rows.length === 0) break;
      for (const row of rows) {
        const problem = chain.entry(row);
        if (problem !== undefined) return problem;
      }
    }
    return chain.end(end);
  }

  /** Once, after the start: from then on this process knows for itself how far the chain has come. */
  async #compareWithKept(end: ChainStart): Promise<Problem | undefined> {
    if (this.#kept === undefined || this.#seen !== undefined) return undefined;
    const { db } = this.#database;
    const { instance_id } = await db.selectFrom("instance").select("instance_id").executeTakeFirstOrThrow();
    const kept = await this.#kept.newest(instance_id);
    if (kept === undefined) return undefined;
    const { audit_id: id, hash } = kept;
    if (id > end.id) {
      const message = `Entries up to ${id} were signed, as a kept checkpoint says, and the log ends at ${end.id}`;
      return { entry: end.id + 1, kind: "missing", message };
    }
    const entry = await db.selectFrom("audit_log").select("hash").where("id", "=", id).executeTakeFirst();
    // Of what was pruned, the checkpoint is what is left.
    const known = entry ?? (await this.#checkpoint(id));
    if (known?.hash === hash) return undefined;
    return { entry: id, kind: "rewritten", message: `Entry ${id} is not the one that a kept checkpoint covers` };
  }

  async #checkpoint(id: number) {
    const query = this.#database.db.selectFrom("audit_checkpoints").select("hash").where("audit_id", "=", id);
    return await query.executeTakeFirst();
  }

  /** The newest checkpoint, as a place to go on from. */
  async #last(): Promise<ChainStart> {
    const newest = await this.#database.db
      .selectFrom("audit_checkpoints")
      .select(["audit_id", "hash"])
      .orderBy("audit_id", "desc")
      .limit(1)
      .executeTakeFirst();
    return newest === undefined ? genesis : { id: newest.audit_id, hash: newest.hash };
  }

  async #insert(key: SigningKey, id: number, hash: string): Promise<void> {
    const unsigned = {
      audit_id: id,
      hash,
      key_id: key.id,
      created_at: new Date(this.#clock.now()).toISOString(),
    };
    const signature = await sign(key.privateKey, checkpointStatement(key.instanceId, unsigned));
    const checkpoint: Checkpoint = { ...unsigned, signature };
    const inserted = await this.#database.db
      .insertInto("audit_checkpoints")
      .values(checkpoint)
      .onConflict((conflict) => conflict.column("audit_id").doNothing())
      .executeTakeFirst();
    // In the process log as well: whoever keeps that elsewhere can prove what the database was cut back from.
    if ((inserted.numInsertedOrUpdatedRows ?? 0n) > 0n) this.#log.info("audit checkpoint", { ...checkpoint });
    try {
      await this.#kept?.keep(key.instanceId, checkpoint);
    } catch (error) {
      this.#log.warn("a checkpoint could not be kept besides the database", { error: messageOf(error) });
    }
  }

  #key(): Promise<SigningKey> {
    this.#opening ??= this.#openKey().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #openKey(): Promise<SigningKey> {
    const known = await this.#findKey();
    if (known !== undefined) return known;
    const { publicKeyPem, pkcs8 } = await createSigningKey();
    const { id } = await VerifyingKey.parse(publicKeyPem);
    const sealed = await this.#keyring.seal(sealOwner(id), pkcs8);
    pkcs8.fill(0);
    const nowMs = this.#clock.now();
    try {
      await this.#database.transaction(async (tx: Transaction<Schema>) => {
        await tx
          .insertInto("audit_keys")
          .values({
            id,
            public_key_pem: publicKeyPem,
            private_key_sealed: sealed,
            state: "active",
            created_at: new Date(nowMs).toISOString(),
          })
          .execute();
        const entry = { action: "audit_key.create", target: { type: "audit_key", id } } as const;
        await appendEntries(tx, nowMs, [signed(server, entry)]);
      });
    } catch (error) {
      // Another process was first.
      if (!this.#database.isUniqueViolation(error)) throw error;
    }
    const key = await this.#findKey();
    if (key === undefined) throw new Corrupt("no_audit_key", "The key of the audit log was stored and is not there");
    return key;
  }

  async #findKey(): Promise<SigningKey | undefined> {
    const { db } = this.#database;
    const row = await db.selectFrom("audit_keys").selectAll().where("state", "=", "active").executeTakeFirst();
    if (row === undefined) return undefined;
    const { instance_id } = await db.selectFrom("instance").select("instance_id").executeTakeFirstOrThrow();
    const pkcs8 = await this.#keyring.unseal(sealOwner(row.id), row.private_key_sealed);
    try {
      const privateKey = await loadSigningKey(pkcs8);
      return { id: row.id, pem: row.public_key_pem, privateKey, instanceId: instance_id };
    } finally {
      pkcs8.fill(0);
    }
  }
}

function sealOwner(id: string): RecordKey {
  return ["audit_keys", id, "private_key_sealed"];
}
