import { depthsAt, EscapeReader, introducers, maxEscapeBytes } from "./escape.ts";
import type { NeedleSet } from "./needles.ts";

/** A match: bytes `start` to `end`, and which needle it was. */
export interface Match {
  readonly start: number;
  readonly end: number;
  readonly needle: number;
}

const backslash = 0x5c;
const nothing: readonly Match[] = [];
const mismatch = -1;
const cut = -2;

/**
 * The data has more ways to be read than can be tried. It takes a value of backslashes and an answer made of them on
 * purpose: honest ones need about one step for each byte.
 */
export class TooIntricate extends Error {}

const stepsPerByte = 32;
const spareSteps = 4096;

/**
 * Does a piece of data hold a needle, or more readings than can be tried? Costs next to nothing where it does not, and
 * reports nothing.
 */
export function mayHoldNeedle(set: NeedleSet, data: Buffer): boolean {
  try {
    return matcherFor(set).matches(data).length > 0;
  } catch (error) {
    if (error instanceof TooIntricate) return true;
    throw error;
  }
}

/** One for all who look for the same: what it knows of a piece of data is good until it is given the next one. */
export function matcherFor(set: NeedleSet): Matcher {
  let matcher = matchers.get(set);
  if (matcher === undefined) {
    matcher = new Matcher(set);
    matchers.set(set, matcher);
  }
  return matcher;
}

const matchers = new WeakMap<NeedleSet, Matcher>();

/** Looks for the needles of a set in one piece of data. It keeps no data. */
export class Matcher {
  readonly #set: NeedleSet;
  readonly #escape = new EscapeReader();
  /** The first escape that is close enough to the end to be part of an unfinished match; -1 for none. */
  #lateEscape = -1;
  /** While one needle is read: did the data end first? Which places led nowhere? */
  #isCut = false;
  #failed: Set<number> | undefined;
  /** How many more escapes may be tried in this piece of data. */
  #steps = 0;

  constructor(set: NeedleSet) {
    this.#set = set;
  }

  /**
   * All matches, overlapping ones as well, in the order of their starts. The same empty list when there are none.
   *
   * @throws {TooIntricate}
   */
  matches(data: Buffer): readonly Match[] {
    const { search } = this.#set;
    this.#lateEscape = -1;
    this.#steps = stepsPerByte * data.length + spareSteps;
    if (search === undefined) return nothing;
    let found: Match[] | undefined;
    for (let from = 0; search.find(data, from); from = search.start + 1) {
      found ??= [];
      found.push({ start: search.start, end: search.end, needle: search.needle });
    }
    for (const introducer of introducers) {
      for (let at = data.indexOf(introducer); at !== -1; at = data.indexOf(introducer, at + 1)) {
        if (introducer === backslash) at = this.#set.escapes.lastWay(data, at);
        if (at >= data.length - this.#set.maxHeldBytes && (this.#lateEscape === -1 || at < this.#lateEscape)) {
          this.#lateEscape = at;
        }
        if (!this.#set.escapes.mayMatter(data, at)) continue;
        found = this.#matchesAround(data, at, found);
      }
    }
    return found?.sort((a, b) => a.start - b.start || b.end - a.end) ?? nothing;
  }

  /**
   * Where the unfinished match begins that begins first, after `matches` looked at the same data: its length when its
   * end can begin none.
   *
   * @throws {TooIntricate}
   */
  unfinishedStart(data: Buffer): number {
    const { length } = data;
    const { maxBytes, starts, escapedStarts, inside } = this.#set;
    let from = Math.max(0, length - maxBytes + 1);
    if (this.#lateEscape !== -1) {
      from = Math.min(from, Math.max(0, length - maxBytes * maxEscapeBytes + 1, this.#lateEscape - maxBytes + 1));
    }
    // Most texts end in, or soon before their end have, a byte that no match goes across.
    let first = length;
    while (first > from && inside[data[first - 1] ?? 0] === 1) first -= 1;
    for (let at = first; at < length; at += 1) {
      const byte = data[at] ?? 0;
      const candidates = starts[byte] ?? [];
      for (let i = 0; i < candidates.length; i += 1) {
        const needle = candidates[i] ?? 0;
        if (this.#isBefore(data, length, needle, length - at)) return at;
      }
      if (this.#lateEscape === -1) continue;
      const escaped = escapedStarts[byte] ?? [];
      for (let i = 0; i < escaped.length; i += 1) {
        if (this.#goOn(data, at, escaped[i] ?? 0, 0) === cut) return at;
      }
      if (isIntroducer(byte) && this.#mayBegin(data, at)) return at;
    }
    return length;
  }

  /** May the escape at `at` be the first character of a needle that the data does not hold whole? */
  #mayBegin(data: Buffer, at: number): boolean {
    for (const depth of depthsAt(data, at)) {
      const reading = this.#escape.read(data, at, depth);
      if (reading === "cut") return true;
      if (reading === "none") continue;
      for (const needle of this.#set.escapedStarts[this.#escape.bytes[0] ?? 0] ?? []) {
        if (this.#goOn(data, at, needle, 0) === cut) return true;
      }
    }
    return false;
  }

  /** The matches in which the escape at `at` is the first one. */
  #matchesAround(data: Buffer, at: number, known: Match[] | undefined): Match[] | undefined {
    let found = known;
    const note = (start: number, end: number, needle: number) => {
      if (end < 0) return;
      found ??= [];
      found.push({ start, end, needle });
    };
    for (const depth of depthsAt(data, at)) {
      if (this.#escape.read(data, at, depth) !== "escape") continue;
      const byte = this.#escape.bytes[0] ?? 0;
      const needles = this.#set.escapedStarts[byte] ?? [];
      for (let i = 0; i < needles.length; i += 1) {
        const needle = needles[i] ?? 0;
        note(at, this.#goOn(data, at, needle, 0), needle);
      }
      const places = at === 0 ? undefined : this.#set.pairs.get(((data[at - 1] ?? 0) << 8) | byte);
      if (places === undefined) continue;
      for (const { needle, offset } of places) {
        if (!this.#isBefore(data, at, needle, offset)) continue;
        note(at - offset, this.#goOn(data, at, needle, offset), needle);
      }
    }
    return found;
  }

  /** Do the first `offset` bytes of a needle stand before `at`, unescaped? */
  #isBefore(data: Buffer, at: number, needle: number, offset: number): boolean {
    const bytes = this.#set.needles[needle]?.bytes;
    if (bytes === undefined || offset > at || offset >= bytes.length) return false;
    for (let i = offset - 1; i >= 0; i -= 1) if (data[at - offset + i] !== bytes[i]) return false;
    return true;
  }

  /**
   * Reads the needle from its byte `offset` on at `at`, escaped or not: where it ends, `mismatch`, or `cut` when the
   * data ends first.
   */
  #goOn(data: Buffer, at: number, needle: number, offset: number): number {
    const bytes = this.#set.needles[needle]?.bytes;
    if (bytes === undefined) return mismatch;
    this.#isCut = false;
    this.#failed = undefined;
    const end = this.#follow(data, at, bytes, offset);
    return end === mismatch && this.#isCut ? cut : end;
  }

  #follow(data: Buffer, at: number, bytes: Buffer, offset: number): number {
    let next = at;
    for (let i = offset; i < bytes.length; i += 1) {
      const byte = data[next];
      if (byte === undefined) {
        this.#isCut = true;
        return mismatch;
      }
      if (isIntroducer(byte)) return this.#branch(data, next, bytes, i);
      if (byte !== bytes[i]) return mismatch;
      next += 1;
    }
    return next;
  }

  /** Tries each way to read what begins with an introducer: where the needle has one itself, there are several. */
  #branch(data: Buffer, at: number, bytes: Buffer, offset: number): number {
    this.#steps -= 1;
    if (this.#steps < 0) throw new TooIntricate();
    const place = at * bytes.length + offset;
    if (this.#failed?.has(place)) return mismatch;
    for (const depth of depthsAt(data, at)) {
      const reading = this.#escape.read(data, at, depth);
      // What is cut short may turn out as the better way, so nothing is settled yet.
      if (reading === "cut") {
        this.#isCut = true;
        return mismatch;
      }
      if (reading === "none" || !this.#stands(bytes, offset)) continue;
      const end = this.#follow(data, at + this.#escape.length, bytes, offset + this.#escape.byteCount);
      if (end !== mismatch || this.#isCut) return end;
    }
    const isItself = data[at] === bytes[offset];
    const end = isItself ? this.#follow(data, at + 1, bytes, offset + 1) : mismatch;
    // Without this, a run of backslashes would be tried in all of its partitions.
    if (end === mismatch && isItself) {
      this.#failed ??= new Set();
      this.#failed.add(place);
    }
    return end;
  }

  #stands(bytes: Buffer, offset: number): boolean {
    const { byteCount, bytes: read } = this.#escape;
    for (let i = 0; i < byteCount; i += 1) if (bytes[offset + i] !== read[i]) return false;
    return true;
  }
}

function isIntroducer(byte: number): boolean {
  return byte === 0x25 || byte === 0x26 || byte === backslash;
}
