import type { CredentialKey } from "../../domain/services/service.ts";
import { BlockSearch } from "./block-search.ts";
import { EscapeFilter, escapeBytes, introducers, maxEscapeBytes } from "./escape.ts";

/** A value that went upstream with a request and must not come back with the answer. */
export interface InjectedValue {
  readonly key: CredentialKey;
  readonly value: string;
  /** What stood in its place in the agent's request: put there again, an answer's links work for the agent. */
  readonly placeholder?: string;
}

/** One byte string to look for: a value, or a piece of a long one, in one of its forms. */
export interface Needle {
  readonly bytes: Buffer;
  readonly key: CredentialKey;
  /** What takes its place; undefined for a marker of the same length. */
  readonly replacement: Buffer | undefined;
}

/** A place in a needle: the byte `offset` of `needle`. */
interface Place {
  readonly needle: number;
  readonly offset: number;
}

/**
 * Shorter values are not looked for, nor those of fewer different bytes: they turn up by themselves, and an answer full
 * of markers helps nobody. What can be guessed is no secret.
 */
export const minValueBytes = 8;
const minDifferentBytes = 4;

/** With more of the bytes that begin escapes, there would be too many ways to read one: such a needle is not unescaped. */
const maxIntroducers = 8;

/** Longer values are looked for in pieces, so that little is held back while it is open whether one goes on. */
const maxPieceBytes = 1024;

/**
 * All forms in which the values of one set of credentials are looked for, compiled. As they stand: the values, their
 * base64 and base64url in all three alignments, and hexadecimal. Where a character is escaped, see `escape.ts`, all of
 * these match as well, be it a few characters or all.
 */
export class NeedleSet {
  readonly needles: readonly Needle[];
  readonly search: BlockSearch | undefined;
  readonly escapes: EscapeFilter;
  /** The needles that begin with a byte. */
  readonly starts: readonly (readonly number[])[];
  /** Those of them that are looked for in escaped form. */
  readonly escapedStarts: readonly (readonly number[])[];
  /** By byte: may it stand in a match, as it is or as a part of an escape? */
  readonly inside: Uint8Array;
  /** Where a byte follows another in a needle; the key is both, the first in the high byte. */
  readonly pairs: ReadonlyMap<number, readonly Place[]>;
  /** The credentials whose values are too short or too simple to be looked for. */
  readonly notSearched: readonly CredentialKey[];
  /** Does every replacement have the length of what it replaces? */
  readonly keepsLength: boolean;
  /** The longest needle as it stands. */
  readonly maxBytes: number;

  constructor(values: readonly InjectedValue[]) {
    const needles = new Map<string, Needle>();
    for (const { key, value, placeholder } of values) {
      const bytes = Buffer.from(value, "utf8");
      if (!isSearchable(value)) continue;
      // A piece of a long value is not the value.
      const plain = placeholder === undefined || bytes.length > maxPieceBytes ? undefined : Buffer.from(placeholder);
      for (const piece of piecesOf(bytes)) {
        for (const form of formsOf(piece)) {
          const id = form.bytes.toString("latin1");
          if (!needles.has(id)) needles.set(id, { ...form, key, replacement: form.isPlain ? plain : undefined });
        }
      }
    }
    this.needles = [...needles.values()];
    const all = this.needles.map(({ bytes }) => bytes);
    this.search = all.length === 0 ? undefined : new BlockSearch(all);
    const escapable = all.map((bytes) => bytes.filter((byte) => introducers.includes(byte)).length <= maxIntroducers);
    this.escapes = new EscapeFilter(all.filter((_, at) => escapable[at]));
    this.inside = Uint8Array.from(escapeBytes);
    for (const bytes of all) for (const byte of bytes) this.inside[byte] = 1;
    this.starts = startsOf(all, () => true);
    this.escapedStarts = startsOf(all, (at) => escapable[at] === true);
    this.pairs = placesOfPairs(all, (at) => escapable[at] === true);
    this.notSearched = [...new Set(values.filter(({ value }) => !isSearchable(value)).map(({ key }) => key))];
    this.keepsLength = this.needles.every(({ bytes, replacement }) => (replacement ?? bytes).length === bytes.length);
    this.maxBytes = Math.max(0, ...all.map(({ length }) => length));
  }

  get isEmpty(): boolean {
    return this.needles.length === 0;
  }

  /** What a scanner may have to hold back: all but the last byte of the longest needle, every byte of it escaped. */
  get maxHeldBytes(): number {
    return Math.max(0, this.maxBytes * maxEscapeBytes - 1);
  }
}

/**
 * The compiled needles for a list of values, made once for as long as somebody holds that list.
 *
 * Plaintext lives no longer than the list: whoever caches it (for a minute, with the rendered headers) decides.
 */
export function needlesFor(values: readonly InjectedValue[]): NeedleSet {
  const known = compiled.get(values);
  if (known !== undefined) return known;
  const set = new NeedleSet(values);
  compiled.set(values, set);
  return set;
}

const compiled = new WeakMap<readonly InjectedValue[], NeedleSet>();

function piecesOf(bytes: Buffer): Buffer[] {
  if (bytes.length <= maxPieceBytes) return [bytes];
  const count = Math.ceil(bytes.length / maxPieceBytes);
  const size = Math.ceil(bytes.length / count);
  return Array.from({ length: count }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
}

function formsOf(bytes: Buffer): { readonly bytes: Buffer; readonly isPlain: boolean }[] {
  const latin1 = bytes.toString("latin1");
  const encoded = [0, 1, 2].flatMap((lead) => {
    const base64 = base64Within(bytes, lead);
    return [base64, base64.replaceAll("+", "-").replaceAll("/", "_")];
  });
  return [
    { bytes, isPlain: true },
    // In a query and in forms a blank is a plus.
    { bytes: Buffer.from(latin1.replaceAll(" ", "+"), "latin1"), isPlain: true },
    ...[...encoded, bytes.toString("hex"), bytes.toString("hex").toUpperCase()].map((text) => ({
      bytes: Buffer.from(text, "latin1"),
      isPlain: false,
    })),
  ];
}

/** The characters that base64 makes of `bytes` behind `lead` others, less those that depend on the neighbours. */
function base64Within(bytes: Buffer, lead: number): string {
  const text = Buffer.concat([Buffer.alloc(lead), bytes]).toString("base64");
  return text.slice(Math.ceil((lead * 8) / 6), Math.floor(((lead + bytes.length) * 8) / 6));
}

function isSearchable(value: string): boolean {
  const bytes = Buffer.from(value, "utf8");
  return bytes.length >= minValueBytes && new Set(bytes).size >= minDifferentBytes;
}

function startsOf(all: readonly Buffer[], counts: (needle: number) => boolean): number[][] {
  return Array.from({ length: 256 }, (_, byte) =>
    all.flatMap((bytes, at) => (bytes[0] === byte && counts(at) ? [at] : [])),
  );
}

function placesOfPairs(all: readonly Buffer[], counts: (needle: number) => boolean): Map<number, Place[]> {
  const pairs = new Map<number, Place[]>();
  for (const [needle, bytes] of all.entries()) {
    if (!counts(needle)) continue;
    for (let offset = 1; offset < bytes.length; offset += 1) {
      const pair = ((bytes[offset - 1] ?? 0) << 8) | (bytes[offset] ?? 0);
      const places = pairs.get(pair);
      if (places === undefined) pairs.set(pair, [{ needle, offset }]);
      else places.push({ needle, offset });
    }
  }
  return pairs;
}
