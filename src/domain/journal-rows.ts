/** Entries of the journal as rows of `request_entries`, and as lines of the file that holds them while the database is away. */
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import type { JournalContexts } from "./journal-contexts.ts";
import type { DialDetails, EntryDetails, JournalEntry, ScrubFinding } from "./journal-entry.ts";
import { type CredentialKey, type ScrubMode, scrubModes } from "./services/service.ts";

/** An entry, and how many requests it stands for. */
export interface Counted {
  readonly entry: JournalEntry;
  readonly count: number;
}

/** Nobody reads more of a path than this. */
const maxPathCharacters = 2_048;

const columns = [
  "vault_id",
  "context_id",
  "request_id",
  "path",
  "status",
  "bytes_in",
  "bytes_out",
  "latency_ms",
  "upstream_ms",
  "flags",
  "created_at",
] as const satisfies readonly (keyof Schema["request_entries"])[];

/** One transaction: all or none. */
export async function insertEntries(
  database: Database,
  contexts: JournalContexts,
  entries: readonly Counted[],
): Promise<void> {
  const ids = await contexts.of(
    database,
    entries.map(({ entry }) => entry),
  );
  const times = new TimeTexts();
  const rows = entries.map((counted, at) => toRow(counted, ids[at] ?? 0, times));
  await database.insertRows("request_entries", columns, rows);
}

function toRow({ entry, count }: Counted, contextId: number, times: TimeTexts): readonly (string | number | null)[] {
  return [
    entry.vaultId,
    contextId,
    entry.requestId,
    storable(entry.path),
    entry.status,
    Math.round(entry.bytesIn),
    Math.round(entry.bytesOut),
    Math.round(entry.latencyMs),
    entry.upstreamMs === null ? null : Math.round(entry.upstreamMs),
    formatFlags(count, entry),
    times.of(entry.startedAtMs),
  ];
}

/** What `request_entries.flags` holds; null for nearly all requests. */
interface Flags {
  /** How many requests the row stands for. */
  readonly coalesced?: number;
  readonly scrub?: { readonly mode: ScrubMode; readonly found: readonly CredentialKey[]; readonly blind?: true };
  readonly queue?: number;
  readonly dial?: DialDetails;
  readonly unanswered?: true;
  readonly retried?: true;
}

function formatFlags(count: number, { scrubbed, details }: JournalEntry): string | null {
  if (count === 1 && scrubbed === undefined && details === undefined) return null;
  const flags: Flags = {
    ...(count > 1 && { coalesced: count }),
    ...(details && formatDetails(details)),
    ...(scrubbed && {
      scrub: { mode: scrubbed.mode, found: scrubbed.found, ...(scrubbed.isBlind && { blind: true as const }) },
    }),
  };
  return JSON.stringify(flags);
}

function formatDetails({ queueMs, dial, isUnanswered, isRetried }: EntryDetails): Partial<Flags> {
  return {
    ...(queueMs !== undefined && { queue: Math.round(queueMs) }),
    ...(dial && {
      dial: {
        dnsMs: Math.round(dial.dnsMs),
        connectMs: Math.round(dial.connectMs),
        tlsMs: Math.round(dial.tlsMs),
        address: dial.address,
      },
    }),
    ...(isUnanswered && { unanswered: true as const }),
    ...(isRetried && { retried: true as const }),
  };
}

export interface ParsedFlags {
  readonly count: number;
  readonly scrubbed: ScrubFinding | undefined;
  readonly queueMs: number;
  readonly dial: DialDetails | undefined;
  readonly isUnanswered: boolean;
  readonly isRetried: boolean;
}

/** @param text as `insertEntries` wrote it. */
export function parseFlags(text: string): ParsedFlags {
  const { coalesced, scrub, queue = 0, dial, unanswered, retried } = JSON.parse(text) as Flags;
  const scrubbed = scrub && { mode: scrub.mode, found: scrub.found, isBlind: scrub.blind === true };
  const count = coalesced ?? 1;
  return { count, scrubbed, queueMs: queue, dial, isUnanswered: unanswered === true, isRetried: retried === true };
}

/** Many requests arrive in one millisecond, and spelling a time costs more than the rest of a row. */
class TimeTexts {
  #ms = Number.NaN;
  #text = "";

  of(ms: number): string {
    if (ms !== this.#ms) {
      this.#ms = ms;
      this.#text = new Date(ms).toISOString();
    }
    return this.#text;
  }
}

/** PostgreSQL has no NUL in texts. */
function storable(text: string): string {
  const cut = text.length > maxPathCharacters ? text.slice(0, maxPathCharacters) : text;
  return cut.includes("\u0000") ? cut.replaceAll("\u0000", "\ufffd") : cut;
}

/** Newest rows in which an entry is looked for that may have been written already. */
const recentRows = 100_000;

/**
 * Those of the entries that the journal does not hold, for a batch of which nobody heard whether it was written: the
 * process or the connection ended in between.
 */
export async function withoutWritten({ db }: Database, entries: readonly Counted[]): Promise<readonly Counted[]> {
  if (entries.length === 0) return entries;
  const newest = await db
    .selectFrom("request_entries")
    .select((row) => row.fn.max("id").as("id"))
    .executeTakeFirst();
  const written = await db
    .selectFrom("request_entries")
    .select("request_id")
    .where("id", ">", Number(newest?.id ?? 0) - recentRows)
    .where(
      "request_id",
      "in",
      entries.map(({ entry }) => entry.requestId),
    )
    .execute();
  const known = new Set(written.map((row) => row.request_id));
  return entries.filter(({ entry }) => !known.has(entry.requestId));
}

/** `isUncertain`: it may be in the database already. */
export function formatSpooled({ entry, count }: Counted, isUncertain: boolean): string {
  return JSON.stringify({ ...entry, ...(count > 1 && { count }), ...(isUncertain && { isUncertain }) });
}

export interface Spooled extends Counted {
  readonly isUncertain: boolean;
}

const texts = [
  "requestId",
  "vaultId",
  "actorType",
  "actorId",
  "sessionId",
  "method",
  "scheme",
  "host",
  "path",
  "matchedService",
  "errorCode",
  "authScheme",
  "authHeader",
  "clientIp",
] as const satisfies readonly (keyof JournalEntry)[];
const numbers = [
  "status",
  "bytesIn",
  "bytesOut",
  "startedAtMs",
  "latencyMs",
] as const satisfies readonly (keyof JournalEntry)[];

/** Undefined for a line that is no entry: one that a crash cut short. */
export function parseSpooled(line: string): Spooled | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const { credentialKeys, upstreamMs, scrubbed, details, count = 1, isUncertain = false } = fields;
  const isEntry =
    texts.every((name) => typeof fields[name] === "string") &&
    numbers.every((name) => Number.isFinite(fields[name])) &&
    Number.isFinite(new Date(Number(fields.startedAtMs)).getTime()) &&
    (upstreamMs === null || Number.isFinite(upstreamMs)) &&
    isTexts(credentialKeys) &&
    (scrubbed === undefined || isFinding(scrubbed)) &&
    (details === undefined || isDetails(details)) &&
    (fields.ingress === undefined || fields.ingress === "tunnel") &&
    (fields.protocol === undefined || fields.protocol === "http/1.0" || fields.protocol === "h2") &&
    Number.isInteger(count);
  // Every field that the type has was looked at.
  return isEntry
    ? { entry: value as JournalEntry, count: count as number, isUncertain: isUncertain === true }
    : undefined;
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function isDetails(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { queueMs, dial, isUnanswered, isRetried } = value as Readonly<Record<string, unknown>>;
  const isFlag = (flag: unknown) => flag === undefined || flag === true;
  return (
    (queueMs === undefined || Number.isFinite(queueMs)) &&
    (dial === undefined || isDial(dial)) &&
    isFlag(isUnanswered) &&
    isFlag(isRetried)
  );
}

function isDial(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { dnsMs, connectMs, tlsMs, address } = value as Readonly<Record<string, unknown>>;
  return [dnsMs, connectMs, tlsMs].every(Number.isFinite) && typeof address === "string";
}

function isFinding(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { mode, found, isBlind } = value as Readonly<Record<string, unknown>>;
  return scrubModes.some((known) => known === mode) && isTexts(found) && typeof isBlind === "boolean";
}
