/**
 * A new root in place of the old one without a moment in which agents trust the wrong one: it is made and handed out
 * beside the old one (`start`), signs once everybody had time to fetch it (`activate`), and the old one goes when the
 * last of its leaves is gone (`finish`).
 */
import { X509Certificate } from "node:crypto";
import type { Transaction } from "kysely";
import type { Keyring } from "../crypto/keyring.ts";
import { Conflict, InvalidInput } from "../errors.ts";
import type { Changes } from "../storage/changes.ts";
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import type { Actor } from "./actors/principal.ts";
import type { Audit } from "./audit/audit.ts";
import { type By, server } from "./audit/author.ts";
import { listRoots, makeRoot, type RootRow, type RootState } from "./authority-rows.ts";
import type { Clock } from "./clock.ts";

/** What owners see of a root. */
export interface RootStatus {
  readonly state: RootState;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly expiresAt: string;
  readonly createdAt: string;
  /** When it goes on by itself. */
  readonly dueAt: string | undefined;
}

export const defaultOverlapSeconds = 7 * 24 * 3600;
const longestOverlapSeconds = 365 * 24 * 3600;

export class AuthorityRotation {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #keyring: Keyring;
  readonly #clock: Clock;
  readonly #audit: Audit;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly keyring: Keyring;
    readonly clock: Clock;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#keyring = options.keyring;
    this.#clock = options.clock;
    this.#audit = options.audit;
  }

  /** The one that signs first. */
  async list(): Promise<readonly RootStatus[]> {
    return (await listRoots(this.#database.db)).map(statusOf);
  }

  /**
   * Makes the next root. It is trusted from now on and signs nothing yet.
   * @param overlapSeconds after which it signs by itself, and the old one then goes by itself; 0: both by hand.
   * @throws {Conflict} `rotation_under_way`, `no_authority`. @throws {InvalidInput} `bad_overlap`.
   */
  async start(by: Actor, overlapSeconds = defaultOverlapSeconds): Promise<void> {
    if (!Number.isInteger(overlapSeconds) || overlapSeconds < 0 || overlapSeconds > longestOverlapSeconds) {
      throw new InvalidInput("bad_overlap", "The overlap must be a whole number of seconds, at most a year");
    }
    const nowMs = this.#clock.now();
    const { id, values, fingerprint } = await makeRoot(this.#keyring, nowMs, "next");
    const due_at = overlapSeconds === 0 ? null : later(nowMs, overlapSeconds);
    try {
      await this.#changes.transaction(async (tx, announce) => {
        const roots = await listRoots(tx);
        if (!roots.some(({ state }) => state === "active")) {
          throw new Conflict("no_authority", "There is no root certificate yet: the proxy has never run");
        }
        if (roots.length > 1) throw underWay();
        await tx
          .insertInto("authorities")
          .values({ ...values, due_at, overlap_seconds: overlapSeconds })
          .execute();
        this.#audit.record(tx, by, {
          action: "authority.rotate",
          target: { type: "authority", id },
          after: { fingerprint_sha256: fingerprint, overlap_seconds: overlapSeconds, activates_at: due_at },
        });
        announce({ kind: "authority" });
      });
    } catch (error) {
      throw this.#database.isUniqueViolation(error) ? underWay() : error;
    }
  }

  /** The next root signs from now on; the old one stays trusted. @throws {Conflict} `no_rotation`. */
  async activate(by: Actor): Promise<void> {
    await this.#move(by, undefined);
  }

  /** Nobody is told of the old root any more, and its key is destroyed. @throws {Conflict} `no_rotation`. */
  async finish(by: Actor): Promise<void> {
    await this.#remove(by, { state: "retired", action: "authority.finish", dueBy: undefined });
  }

  /** Takes the next root back before it has signed anything. @throws {Conflict} `no_rotation`. */
  async cancel(by: Actor): Promise<void> {
    await this.#remove(by, { state: "next", action: "authority.cancel", dueBy: undefined });
  }

  /** Does what is due. Instances that come at once do it once. */
  async advance(): Promise<void> {
    const now = new Date(this.#clock.now()).toISOString();
    const due = (await listRoots(this.#database.db)).filter(({ dueAt }) => dueAt !== undefined && dueAt <= now);
    for (const { state } of due) {
      try {
        if (state === "next") await this.#move(server, now);
        if (state === "retired") {
          await this.#remove(server, { state, action: "authority.finish", dueBy: now });
        }
      } catch (error) {
        // Another instance, or an owner, was quicker.
        if (!(error instanceof Conflict)) throw error;
      }
    }
  }

  /** @param dueBy undefined: whenever it was to be. */
  async #move(by: By, dueBy: string | undefined): Promise<void> {
    try {
      await this.#moveInOne(by, dueBy);
    } catch (error) {
      // There is a retired root already: somebody else was quicker.
      throw this.#database.isUniqueViolation(error) ? noNextRoot() : error;
    }
  }

  async #moveInOne(by: By, dueBy: string | undefined): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      // First the old one: there may be one active root at a time.
      await tx.updateTable("authorities").set({ state: "retired" }).where("state", "=", "active").execute();
      let activation = tx.updateTable("authorities").set({ state: "active", due_at: null }).where("state", "=", "next");
      if (dueBy !== undefined) activation = activation.where("due_at", "<=", dueBy);
      const next = await activation.returning(["id", "certificate_pem", "overlap_seconds"]).executeTakeFirst();
      // Takes back the first step, too.
      if (!next) throw noNextRoot();
      const overlap = next.overlap_seconds ?? 0;
      const due_at = overlap === 0 ? null : later(this.#clock.now(), overlap);
      await tx.updateTable("authorities").set({ due_at }).where("state", "=", "retired").execute();
      this.#audit.record(tx, by, {
        action: "authority.activate",
        target: { type: "authority", id: next.id },
        after: { fingerprint_sha256: fingerprintOf(next.certificate_pem), retired_until: due_at },
      });
      announce({ kind: "authority" });
    });
  }

  async #remove(by: By, { state, action, dueBy }: Removal): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      const gone = await removeRoot(tx, state, dueBy);
      if (!gone) {
        throw state === "next"
          ? noNextRoot()
          : nothingThere("No old root certificate is left to be removed", "agent-vault ca rotate --activate");
      }
      this.#audit.record(tx, by, {
        action,
        target: { type: "authority", id: gone.id },
        before: { fingerprint_sha256: fingerprintOf(gone.certificate_pem) },
      });
      announce({ kind: "authority" });
    });
  }
}

interface Removal {
  readonly state: "next" | "retired";
  readonly action: "authority.finish" | "authority.cancel";
  /** Undefined: whenever it was to be. */
  readonly dueBy: string | undefined;
}

function removeRoot(tx: Transaction<Schema>, state: RootState, dueBy: string | undefined) {
  let removal = tx.deleteFrom("authorities").where("state", "=", state);
  if (dueBy !== undefined) removal = removal.where("due_at", "<=", dueBy);
  return removal.returning(["id", "certificate_pem"]).executeTakeFirst();
}

function statusOf({ pem, state, createdAt, dueAt }: RootRow): RootStatus {
  const certificate = new X509Certificate(pem);
  return {
    state,
    fingerprint: fingerprintOf(pem),
    expiresAt: new Date(certificate.validTo).toISOString(),
    createdAt,
    dueAt,
  };
}

function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase();
}

function later(nowMs: number, seconds: number): string {
  return new Date(nowMs + seconds * 1000).toISOString();
}

function underWay(): Conflict {
  return new Conflict("rotation_under_way", "The root certificate is being rotated already", {
    hint: "agent-vault ca status shows how far it is; --activate and --finish go on, --cancel takes it back",
  });
}

function noNextRoot(): Conflict {
  return nothingThere("No new root certificate waits to be activated", "agent-vault ca rotate");
}

function nothingThere(message: string, hint: string): Conflict {
  return new Conflict("no_rotation", message, { hint });
}
