/**
 * What many entries of the journal have in common, stored once: the entry names it. Contexts need not be unique, so no
 * process has to ask another; one that is not used any more goes with retention.
 */
import { randomInt } from "node:crypto";
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import type { Clock } from "./clock.ts";
import type { JournalEntry } from "./journal-entry.ts";

/** Sessions whose contexts are remembered, and contexts of each: what is forgotten is only written once more. */
const maxSessions = 10_000;
const maxPerSession = 24;
/** A context is written anew after this time, so that its age tells retention that it is not needed. */
export const contextLifeMs = 6 * 3_600_000;

/** A method may be any token; none that means anything is longer. */
const maxMethodCharacters = 64;

interface Known {
  readonly id: number;
  readonly entry: JournalEntry;
  readonly expiresAtMs: number;
}

const columns = [
  "id",
  "actor_type",
  "actor_id",
  "session_id",
  "ingress",
  "method",
  "scheme",
  "host",
  "matched_service",
  "credential_keys",
  "error_code",
  "auth_scheme",
  "auth_header",
  "client_ip",
  "protocol",
  "created_at",
] as const satisfies readonly (keyof Schema["request_contexts"])[];

export class JournalContexts {
  readonly #clock: Clock;
  readonly #bySession = new Map<string, Known[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The context of each entry; those that are new are in the database when it resolves. */
  async of(database: Database, entries: readonly JournalEntry[]): Promise<readonly number[]> {
    const nowMs = this.#clock.now();
    const found: Known[] = [];
    const added: Known[] = [];
    for (const entry of entries) {
      const known = this.#find(entry, nowMs) ?? added.find((one) => isSame(one.entry, entry));
      if (known !== undefined) {
        found.push(known);
        continue;
      }
      const context: Known = { id: randomInt(1, 2 ** 48 - 1), entry, expiresAtMs: nowMs + contextLifeMs };
      added.push(context);
      found.push(context);
    }
    if (added.length > 0) {
      await database.insertRows(
        "request_contexts",
        columns,
        added.map((one) => toRow(one, nowMs)),
      );
      for (const context of added) this.#remember(context);
    }
    return found.map(({ id }) => id);
  }

  #find(entry: JournalEntry, nowMs: number): Known | undefined {
    const contexts = this.#bySession.get(entry.sessionId);
    if (contexts === undefined) return undefined;
    for (const known of contexts) if (isSame(known.entry, entry)) return known.expiresAtMs > nowMs ? known : undefined;
    return undefined;
  }

  #remember(context: Known): void {
    const { sessionId } = context.entry;
    const contexts = (this.#bySession.get(sessionId) ?? []).filter((known) => !isSame(known.entry, context.entry));
    if (contexts.length >= maxPerSession) contexts.shift();
    contexts.push(context);
    this.#bySession.delete(sessionId);
    this.#bySession.set(sessionId, contexts);
    if (this.#bySession.size <= maxSessions) return;
    const oldest = this.#bySession.keys().next().value;
    if (oldest !== undefined) this.#bySession.delete(oldest);
  }
}

function isSame(one: JournalEntry, other: JournalEntry): boolean {
  return (
    one.sessionId === other.sessionId &&
    one.actorId === other.actorId &&
    one.actorType === other.actorType &&
    one.method === other.method &&
    one.scheme === other.scheme &&
    one.host === other.host &&
    one.matchedService === other.matchedService &&
    one.errorCode === other.errorCode &&
    one.authScheme === other.authScheme &&
    one.authHeader === other.authHeader &&
    one.clientIp === other.clientIp &&
    one.ingress === other.ingress &&
    one.protocol === other.protocol &&
    isSameList(one.credentialKeys, other.credentialKeys)
  );
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one === other || (one.length === other.length && one.every((key, at) => key === other[at]));
}

function toRow({ id, entry }: Known, nowMs: number): readonly (string | number)[] {
  return [
    id,
    entry.actorType,
    entry.actorId,
    entry.sessionId,
    entry.ingress ?? "mitm",
    entry.method.slice(0, maxMethodCharacters),
    entry.scheme,
    entry.host,
    entry.matchedService,
    JSON.stringify(entry.credentialKeys),
    entry.errorCode,
    entry.authScheme,
    entry.authHeader,
    entry.clientIp,
    entry.protocol ?? "http/1.1",
    new Date(nowMs).toISOString(),
  ];
}
