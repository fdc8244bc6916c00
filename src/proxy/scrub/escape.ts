/**
 * Escaped characters as they turn up in URLs, JSON and HTML: `%2F`, `\/`, `\u002f`, `\x2f`, `&#47;`, `&#x2F;`,
 * `&sol;`. What was escaped several times in the same way (`%252F`, `\\u002f`, `&amp;sol;`) counts as well, as deep as
 * four times.
 */

const percent = 0x25;
const ampersand = 0x26;
const backslash = 0x5c;
const semicolon = 0x3b;

/** The bytes that begin an escape. */
export const introducers: readonly number[] = [percent, ampersand, backslash];

/** An escape takes no more than this for each byte that it stands for: `&amp;amp;amp;#x000027;`. */
export const maxEscapeBytes = 28;

const maxDepth = 3;
const maxBackslashes = 8;
const maxEntityBytes = 12;

export type Reading = "escape" | "none" | "cut";

/**
 * What an introducer may begin: 0 for another character, else itself, escaped so many times. Eight backslashes are one
 * in JSON thrice over, or two in JSON in JSON; whoever asks knows what would fit.
 */
export type Depth = 0 | 1 | 2 | 3;
const nested: readonly Depth[] = [0, 3, 2, 1];
const flat: readonly Depth[] = [0];

/** The depths at which the escape at `at` can be read. */
export function depthsAt(data: Buffer, at: number): readonly Depth[] {
  const next = data[at + 1];
  switch (data[at]) {
    case percent:
      return next === undefined || next === 0x32 ? nested : flat;
    case backslash:
      return next === undefined || next === backslash ? nested : flat;
    default:
      return next === undefined || next === letterA ? nested : flat;
  }
}

/** Tells escapes that matter from those that stand for nothing in any needle, which are most of them. */
export class EscapeFilter {
  /** By byte: does it occur in a needle? */
  readonly #wanted = new Uint8Array(256);
  /** By byte: does the name of a character that occurs in a needle begin with it? */
  readonly #wantedNames = new Uint8Array(256);
  readonly #wantsMore: boolean;

  constructor(needles: readonly Buffer[]) {
    for (const bytes of needles) for (const byte of bytes) this.#wanted[byte] = 1;
    for (const [name, byte] of entities) if (this.#wanted[byte] === 1) this.#wantedNames[name.charCodeAt(0)] = 1;
    this.#wantsMore = this.#wanted.subarray(0x80).includes(1);
  }

  /** False when the escape at `at` cannot be a part of a needle. It may be cut short, or none at all. */
  mayMatter(data: Buffer, at: number): boolean {
    const next = data[at + 1] ?? 0;
    switch (data[at]) {
      case percent:
        return next === 0x32 && data[at + 2] === 0x35 ? true : this.#wantsHex(data, at + 1);
      case backslash:
        if (next === backslash) return true;
        if (next === letterX) return this.#wantsHex(data, at + 2);
        if (next !== letterU) return this.#wanted[shortEscapes[next] ?? 0] === 1;
        if (data[at + 2] !== 0x30 || data[at + 3] !== 0x30 || hexDigit(data[at + 4]) > 7) return this.#wantsMore;
        return this.#wantsHex(data, at + 4);
      default:
        if (next !== letterA) return next === hash || this.#wantedNames[next] === 1;
        return this.#wantedNames[letterA] === 1 || this.#wantsNested(data[at + 5] ?? 0);
    }
  }

  /**
   * Of the places in a run of backslashes that begins at `at`, the one that is worth a look: the first from which the
   * character behind the run can be read. Where needles have backslashes themselves, each place is.
   */
  lastWay(data: Buffer, at: number): number {
    if (this.#wanted[backslash] === 1) return at;
    let end = at + 1;
    while (data[end] === backslash) end += 1;
    return Math.max(at, end - maxBackslashes);
  }

  #wantsHex(data: Buffer, at: number): boolean {
    const value = hexDigit(data[at]) * 16 + hexDigit(data[at + 1]);
    return value >= 0 && this.#wanted[value] === 1;
  }

  /** Behind `&amp;`. */
  #wantsNested(first: number): boolean {
    return first === hash || first === letterA || this.#wantedNames[first] === 1;
  }
}

/** Reads one escape. It keeps the result of the last reading so that nothing is allocated. */
export class EscapeReader {
  /** Bytes that the escape takes in the data. */
  length = 0;
  /** What it stands for: `byteCount` bytes of UTF-8. */
  readonly bytes = new Uint8Array(4);
  byteCount = 0;

  /**
   * Reads the escape that begins at `at`, where one of the `introducers` stands.
   *
   * @returns `cut` when the data ends within what may be an escape.
   */
  read(data: Buffer, at: number, depth: Depth): Reading {
    switch (data[at]) {
      case percent:
        return this.#percent(data, at, depth);
      case backslash:
        return this.#backslash(data, at, depth);
      case ampersand:
        return this.#entity(data, at, depth);
      default:
        return "none";
    }
  }

  #percent(data: Buffer, at: number, depth: Depth): Reading {
    let digits = at + 1;
    const limit = depth === 0 ? maxDepth : depth;
    let times = 0;
    while (times < limit && data[digits] === 0x32 && data[digits + 1] === 0x35) {
      digits += 2;
      times += 1;
    }
    if (depth !== 0) {
      const mayGoOn = times < limit && (digits >= data.length || (digits + 1 >= data.length && data[digits] === 0x32));
      return this.#itself(data, at, digits - at, times === depth, mayGoOn);
    }
    const value = hexNumber(data, digits, 2);
    if (value < 0) return value === cutShort ? "cut" : "none";
    this.#set(digits + 2 - at, value);
    return "escape";
  }

  #itself(data: Buffer, at: number, length: number, isRead: boolean, mayGoOn: boolean): Reading {
    if (mayGoOn) return "cut";
    if (!isRead) return "none";
    this.#set(length, data[at] ?? 0);
    return "escape";
  }

  #backslash(data: Buffer, at: number, depth: Depth): Reading {
    let next = at + 1;
    while (data[next] === backslash && next - at < maxBackslashes) next += 1;
    if (depth !== 0) {
      // Each time doubles them.
      const length = 1 << depth;
      const run = next - at;
      return this.#itself(data, at, length, run >= length, run < length && next >= data.length);
    }
    if (next >= data.length) return "cut";
    const character = data[next] ?? 0;
    if (character === letterU) return this.#unicode(data, at, next);
    if (character === letterX) {
      const value = hexNumber(data, next + 1, 2);
      if (value < 0) return value === cutShort ? "cut" : "none";
      this.#set(next + 3 - at, value);
      return "escape";
    }
    const value = shortEscapes[character] ?? 0;
    if (value === 0) return "none";
    this.#set(next + 1 - at, value);
    return "escape";
  }

  /** `\uXXXX`, and a surrogate pair of two of them behind equally many backslashes. */
  #unicode(data: Buffer, at: number, letter: number): Reading {
    const first = hexNumber(data, letter + 1, 4);
    if (first < 0) return first === cutShort ? "cut" : "none";
    if (first < 0xd800 || first > 0xdbff) return this.#codePoint(letter + 5 - at, first);
    const run = letter - at;
    const other = letter + 5;
    for (let i = 0; i <= run; i += 1) {
      if (other + i >= data.length) return "cut";
      if (data[other + i] !== (i === run ? letterU : backslash)) return "none";
    }
    const second = hexNumber(data, other + run + 1, 4);
    if (second < 0) return second === cutShort ? "cut" : "none";
    if (second < 0xdc00 || second > 0xdfff) return "none";
    return this.#codePoint(other + run + 5 - at, 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
  }

  #entity(data: Buffer, at: number, depth: Depth): Reading {
    let name = at + 1;
    const limit = depth === 0 ? maxDepth : depth;
    let times = 0;
    for (; times < limit && data.toString("latin1", name, name + 4) === "amp;"; times += 1) name += 4;
    if (depth !== 0) {
      const mayGoOn = times < limit && "amp;".startsWith(data.toString("latin1", name, name + 4));
      return this.#itself(data, at, name - at, times === depth, mayGoOn);
    }
    let end = name;
    while (end < data.length && data[end] !== semicolon) {
      // A name that no entity can have ends the search early: most ampersands only join two parameters.
      if (end - name >= maxEntityBytes || !entityBytes[data[end] ?? 0]) return "none";
      end += 1;
    }
    const text = data.toString("latin1", name, end);
    if (end >= data.length) return mayBecomeEntity(text) ? "cut" : "none";
    const length = end + 1 - at;
    if (text.startsWith("#")) return this.#codePoint(length, numberOf(text));
    const value = entities.get(text);
    if (value === undefined) return "none";
    this.#set(length, value);
    return "escape";
  }

  #set(length: number, byte: number): void {
    this.length = length;
    this.bytes[0] = byte;
    this.byteCount = 1;
  }

  #codePoint(length: number, point: number): Reading {
    const { bytes } = this;
    if (!(point >= 0 && point <= 0x10ffff)) return "none";
    if (point < 0x80) {
      this.#set(length, point);
      return "escape";
    }
    this.length = length;
    if (point < 0x800) {
      this.byteCount = 2;
      bytes[0] = 0xc0 | (point >> 6);
    } else if (point < 0x10000) {
      this.byteCount = 3;
      bytes[0] = 0xe0 | (point >> 12);
    } else {
      this.byteCount = 4;
      bytes[0] = 0xf0 | (point >> 18);
    }
    for (let i = 1; i < this.byteCount; i += 1) bytes[i] = 0x80 | ((point >> (6 * (this.byteCount - 1 - i))) & 0x3f);
    return "escape";
  }
}

const hash = 0x23;
const letterA = 0x61;
const letterU = 0x75;
const letterX = 0x78;
const cutShort = -2;

/** A number of hexadecimal digits, -1 when there is something else, `cutShort` when the data ends before. */
function hexNumber(data: Buffer, at: number, digits: number): number {
  let value = 0;
  for (let i = 0; i < digits; i += 1) {
    if (at + i >= data.length) return cutShort;
    const digit = hexDigit(data[at + i]);
    if (digit === -1) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** `#47` or `#x2f`; NaN for anything else. */
function numberOf(text: string): number {
  if (/^#[0-9]+$/.test(text)) return Number.parseInt(text.slice(1), 10);
  return /^#[xX][0-9a-fA-F]+$/.test(text) ? Number.parseInt(text.slice(2), 16) : Number.NaN;
}

/** Behind a backslash: what JSON (RFC 8259, section 7) and the languages around it write. */
const shortEscapes = Uint8Array.from({ length: 256 }, (_, byte) => {
  const at = "\"'/bfnrt".indexOf(String.fromCharCode(byte));
  return at === -1 ? 0 : "\"'/\b\f\n\r\t".charCodeAt(at);
});

function mayBecomeEntity(text: string): boolean {
  return entityBeginnings.has(text) || /^#(?:[0-9]*|[xX][0-9a-fA-F]*)$/.test(text);
}

const entityBytes = Uint8Array.from({ length: 256 }, (_, byte) =>
  /[#0-9A-Za-z]/.test(String.fromCharCode(byte)) && byte < 0x80 ? 1 : 0,
);

/** By byte: may it be a part of an escape? The character itself that follows a backslash is not counted. */
export const escapeBytes: Readonly<Uint8Array> = Uint8Array.from({ length: 256 }, (_, byte) =>
  entityBytes[byte] === 1 || byte === semicolon || introducers.includes(byte) ? 1 : 0,
);

/** The named characters of ASCII (HTML Living Standard, section 13.5). */
const entities: ReadonlyMap<string, number> = new Map(
  Object.entries({
    "\t": "Tab",
    "\n": "NewLine",
    "!": "excl",
    '"': "quot QUOT",
    "#": "num",
    $: "dollar",
    "%": "percnt",
    "&": "amp AMP",
    "'": "apos",
    "(": "lpar",
    ")": "rpar",
    "*": "ast midast",
    "+": "plus",
    ",": "comma",
    ".": "period",
    "/": "sol",
    ":": "colon",
    ";": "semi",
    "<": "lt LT",
    "=": "equals",
    ">": "gt GT",
    "?": "quest",
    "@": "commat",
    "[": "lsqb lbrack",
    "\\": "bsol",
    "]": "rsqb rbrack",
    "^": "Hat",
    _: "lowbar UnderBar",
    "`": "grave",
    "{": "lcub lbrace",
    "|": "verbar vert",
    "}": "rcub rbrace",
  }).flatMap(([character, names]) => names.split(" ").map((name) => [name, character.charCodeAt(0)] as const)),
);

const entityBeginnings: ReadonlySet<string> = new Set(
  [...entities.keys()].flatMap((name) => Array.from({ length: name.length + 1 }, (_, length) => name.slice(0, length))),
);
