import type { CredentialKey, ScrubMode } from "../../domain/services/service.ts";
import { UpstreamFailed } from "../../errors.ts";
import { type Match, type Matcher, matcherFor, TooIntricate } from "./matcher.ts";
import type { NeedleSet } from "./needles.ts";

/** What is done about a value that is found; with `off` there is no scanner. */
export type ActiveScrubMode = Exclude<ScrubMode, "off">;

const marker = Buffer.from("[redacted]");
const filler = 0x2a;
const neverInUtf8 = Buffer.of(0xff);
const nothing: readonly Match[] = [];
const noKeys: ReadonlySet<CredentialKey> = new Set();
const empty = Buffer.alloc(0);

/**
 * Looks for injected values in a stream of bytes, however it is cut into chunks.
 *
 * `detect` passes every chunk on as it is. `redact` and `block` hold back the end of a chunk when it may be the beginning
 * of a value, never more than that, and never more than the longest escaped form less one byte. What is redacted becomes
 * the value's placeholder where it has one, else `[redacted]` filled up to the same length, so that declared lengths
 * stay true.
 */
export class Scanner {
  #found: Set<CredentialKey> | undefined;
  /** How many values were found. */
  count = 0;
  readonly #set: NeedleSet;
  readonly #matcher: Matcher;
  readonly #mode: ActiveScrubMode;
  /** The end of the data so far, where a match may have begun. */
  #pending: Buffer = empty;
  /** How many bytes of `#pending` are settled: the receiver has them, or a marker; in `detect`, they were counted. */
  #passed = 0;
  #heldFrom = 0;

  constructor(set: NeedleSet, mode: ActiveScrubMode) {
    this.#set = set;
    this.#mode = mode;
    this.#matcher = matcherFor(set);
  }

  /** The credentials whose values were found so far. */
  get found(): ReadonlySet<CredentialKey> {
    return this.#found ?? noKeys;
  }

  /** How many bytes wait for what comes next. */
  get heldBytes(): number {
    return this.#mode === "detect" ? 0 : this.#pending.length - this.#passed;
  }

  /**
   * Takes the next bytes and returns those that may pass on: the same buffer when nothing was found, maybe none.
   *
   * @throws {UpstreamFailed} `credential_in_answer`, in the mode `block`; `answer_not_scannable` for what was made to
   * have more readings than anybody could try, in all modes but `detect`.
   */
  push(chunk: Buffer): Buffer {
    if (this.#set.isEmpty || chunk.length === 0) return chunk;
    const data = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const matches = this.#look(data);
    const heldFrom = this.#heldFrom;
    const passed = this.#passed;
    if (this.#mode === "detect") {
      this.#note(matches.filter(({ end }) => end > passed));
      this.#keep(
        data,
        heldFrom,
        matches.reduce((last, { end }) => Math.max(last, end), Math.max(heldFrom, passed)),
      );
      return chunk;
    }
    if (matches.length === 0) {
      this.#keep(data, heldFrom, Math.max(passed, heldFrom));
      return passed === 0 && heldFrom === data.length ? data : data.subarray(Math.min(passed, heldFrom), heldFrom);
    }
    return this.#redact(data, matches, passed, heldFrom);
  }

  /**
   * The stream has ended; returns what was held back. The scanner can be used for another one.
   *
   * @throws {UpstreamFailed} `credential_in_answer`, in the mode `block`.
   */
  end(): Buffer {
    if (this.#pending.length === 0) return empty;
    // Settles what could have gone on: no value and no escape holds this byte.
    const passed = this.push(neverInUtf8);
    this.#pending = empty;
    this.#passed = 0;
    return this.#mode === "detect" ? empty : passed.subarray(0, -1);
  }

  /** The matches in `data`; leaves in `#heldFrom` where an unfinished one begins. */
  #look(data: Buffer): readonly Match[] {
    try {
      const matches = this.#matcher.matches(data);
      this.#heldFrom = this.#matcher.unfinishedStart(data);
      return matches;
    } catch (error) {
      if (!(error instanceof TooIntricate)) throw error;
      if (this.#mode !== "detect") throw notScannable();
      this.#heldFrom = data.length;
      return nothing;
    }
  }

  /** @param passed what the receiver already has of `data`; @param heldFrom where an unfinished match begins. */
  #redact(data: Buffer, matches: readonly Match[], passed: number, heldFrom: number): Buffer {
    const parts: Buffer[] = [];
    let at = passed;
    for (let i = 0; i < matches.length; ) {
      const first = matches[i];
      // A match behind the beginning of another that is not complete yet will be found again with it.
      if (first === undefined || first.start >= heldFrom) break;
      let end = first.end;
      let next = i + 1;
      for (let other = matches[next]; other !== undefined && other.start < end; other = matches[next]) {
        end = Math.max(end, other.end);
        next += 1;
      }
      if (end > at) {
        this.#note(matches.slice(i, next));
        if (first.start > at) parts.push(data.subarray(at, first.start));
        const start = Math.max(first.start, at);
        const isWhole = start === first.start && end === first.end;
        parts.push((isWhole ? this.#set.needles[first.needle]?.replacement : undefined) ?? markerOf(end - start));
        at = end;
      }
      i = next;
    }
    if (heldFrom > at) parts.push(data.subarray(at, heldFrom));
    this.#keep(data, heldFrom, Math.max(at, heldFrom));
    return parts.length === 1 ? (parts[0] ?? empty) : Buffer.concat(parts);
  }

  /** What another scanner found counts as found by this one. */
  noteAll({ count, found }: Scanner): void {
    if (count === 0) return;
    this.count += count;
    this.#found = new Set([...this.found, ...found]);
  }

  #note(matches: readonly Match[]): void {
    for (const { needle } of matches) {
      const key = this.#set.needles[needle]?.key;
      if (key === undefined) continue;
      this.count += 1;
      this.#found ??= new Set();
      this.#found.add(key);
    }
    if (this.#mode === "block" && matches.length > 0) throw credentialInAnswer([...this.found]);
  }

  /** Remembers `data` from `heldFrom` on, of which the receiver has what lies before `passed`. */
  #keep(data: Buffer, heldFrom: number, passed: number): void {
    const isAll = heldFrom === data.length;
    // A copy: the chunk's memory belongs to the socket that it came from.
    this.#pending = isAll ? empty : Buffer.from(data.subarray(heldFrom));
    this.#passed = isAll ? 0 : passed - heldFrom;
  }
}

/** Something passes only when it was looked at. */
export function notScannable(): UpstreamFailed {
  return new UpstreamFailed(
    "answer_not_scannable",
    "The answer cannot be searched for credentials, as this service demands",
    { hint: "Ask without Range, and accept gzip, deflate, br, zstd or identity only" },
  );
}

/** @param keys names, never values. */
export function credentialInAnswer(keys: readonly CredentialKey[]): UpstreamFailed {
  return new UpstreamFailed(
    "credential_in_answer",
    `The answer holds the value of ${keys.join(", ")}, which this service must not return`,
    { details: { credential_keys: keys } },
  );
}

/** `[redacted]***…`: plain ASCII that needs no escape in JSON, HTML and headers. */
function markerOf(length: number): Buffer {
  const bytes = Buffer.alloc(length, filler);
  if (length >= marker.length) marker.copy(bytes);
  return bytes;
}
