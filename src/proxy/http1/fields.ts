import { valueBytes } from "./bytes.ts";
import { addToHash, type FieldId, fieldTable, foldedBytes, hashBasis, oddSpelling } from "./field-names.ts";
import { FramingError } from "./framing-error.ts";

/** Flat `[name, value, name, value, …]` in received order and case, one character per byte. */
export type HeaderList = readonly string[];

const tab = 0x09;
const lf = 0x0a;
const cr = 0x0d;
const space = 0x20;
const colon = 0x3a;

const noBytes = Buffer.alloc(0);
const noValues: readonly string[] = [];

/** Numbers per line in the index: start and end of the name, start and end of the value, hash of the name, and: */
const perLine = 6;
/** the `Field`, or 0; with these bits. */
const idBits = 0x1f;
const isOdd = 0x20;
const isPlain = 0x40;

/**
 * The header lines of one message (RFC 9112, section 5): checked once, then known by where they stand in the bytes they
 * came in. Most are forwarded without ever becoming strings.
 *
 * An instance is used again for the next message of its connection; the bytes must not change in between.
 */
export class Fields {
  bytes: Buffer = noBytes;
  count = 0;
  /** Where the empty line behind the last header starts. */
  end = 0;
  #index = new Int32Array(perLine * 12);
  /** `Field`s that are there in their usual spelling, and those that are there more than once: one bit each. */
  #seen = 0;
  #repeated = 0;

  /**
   * Reads header lines from `start` to the empty line that must end at `end`.
   *
   * @throws {FramingError} on a name that is no token, a control byte, a bare CR or LF, or a folded line.
   */
  parse(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.#seen = 0;
    this.#repeated = 0;
    let count = 0;
    let at = start;
    while (at < end) {
      const nameStart = at;
      let hash = hashBasis;
      let spelling = 0;
      for (let folded = foldedBytes[bytes[at] ?? 0] ?? 0; folded !== 0; folded = foldedBytes[bytes[at] ?? 0] ?? 0) {
        hash = addToHash(hash, folded);
        spelling |= folded;
        at += 1;
      }
      if (at === nameStart) {
        if (at + 2 !== end || bytes[at] !== cr || bytes[at + 1] !== lf) throw badHeaderStart(bytes[at] ?? -1);
        this.count = count;
        this.end = at;
        return;
      }
      const nameEnd = at;
      if (bytes[at] !== colon) throw badHeaderName(bytes[at] ?? -1);
      at += 1;
      while (bytes[at] === space || bytes[at] === tab) at += 1;
      const valueStart = at;
      while (valueBytes[bytes[at] ?? 0] === 1) at += 1;
      if (at >= end || bytes[at] !== cr || bytes[at + 1] !== lf)
        throw badHeaderValue(at < end ? (bytes[at] ?? -1) : -1);
      let valueEnd = at;
      while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1] ?? 0)) valueEnd -= 1;

      const id = fieldTable.find(hash, bytes, nameStart, nameEnd);
      let info = id;
      if ((spelling & oddSpelling) !== 0) info |= isOdd;
      else if (id !== 0) this.#note(id);
      if (valueEnd === at && valueStart === nameEnd + 2 && bytes[nameEnd + 1] === space) info |= isPlain;
      const entry = count * perLine;
      if (entry + perLine > this.#index.length) this.#grow();
      const index = this.#index;
      index[entry] = nameStart;
      index[entry + 1] = nameEnd;
      index[entry + 2] = valueStart;
      index[entry + 3] = valueEnd;
      index[entry + 4] = hash;
      index[entry + 5] = info;
      count += 1;
      at += 2;
    }
    throw new FramingError("bad_head", "The head must end with an empty line");
  }

  /** Lets go of the bytes. Nothing may be asked afterwards. */
  release(): void {
    this.bytes = noBytes;
    this.count = 0;
  }

  /** The `Field` of a line, however it is spelled, or 0. */
  idAt(line: number): number {
    return (this.#index[line * perLine + 5] ?? 0) & idBits;
  }

  /** Is the name spelled with letters, digits and hyphens only, as registered names are? */
  isUsualAt(line: number): boolean {
    return ((this.#index[line * perLine + 5] ?? 0) & isOdd) === 0;
  }

  /** Is the line `Name: value` with exactly one blank? */
  isPlainAt(line: number): boolean {
    return ((this.#index[line * perLine + 5] ?? 0) & isPlain) !== 0;
  }

  hashAt(line: number): number {
    return this.#index[line * perLine + 4] ?? 0;
  }

  nameStart(line: number): number {
    return this.#index[line * perLine] ?? 0;
  }

  nameEnd(line: number): number {
    return this.#index[line * perLine + 1] ?? 0;
  }

  valueStart(line: number): number {
    return this.#index[line * perLine + 2] ?? 0;
  }

  valueEnd(line: number): number {
    return this.#index[line * perLine + 3] ?? 0;
  }

  /** Where the next line starts, or the empty line. */
  lineEnd(line: number): number {
    return line + 1 < this.count ? this.nameStart(line + 1) : this.end;
  }

  name(line: number): string {
    return this.bytes.toString("latin1", this.nameStart(line), this.nameEnd(line));
  }

  value(line: number): string {
    return this.bytes.toString("latin1", this.valueStart(line), this.valueEnd(line));
  }

  /** Is this header there, in its usual spelling? */
  has(id: FieldId): boolean {
    return (this.#seen & (1 << id)) !== 0;
  }

  isRepeated(id: FieldId): boolean {
    return (this.#repeated & (1 << id)) !== 0;
  }

  /** The first line with this header in its usual spelling, or -1. */
  lineOf(id: FieldId): number {
    if (!this.has(id)) return -1;
    for (let line = 0; line < this.count; line += 1) {
      if (this.idAt(line) === id && this.isUsualAt(line)) return line;
    }
    return -1;
  }

  /** The first value of this header, or undefined. */
  valueOf(id: FieldId): string | undefined {
    const line = this.lineOf(id);
    return line === -1 ? undefined : this.value(line);
  }

  /** The values of all lines with this header in its usual spelling. */
  valuesOf(id: FieldId): readonly string[] {
    if (!this.has(id)) return noValues;
    const values: string[] = [];
    for (let line = 0; line < this.count; line += 1) {
      if (this.idAt(line) === id && this.isUsualAt(line)) values.push(this.value(line));
    }
    return values;
  }

  /**
   * Does a comma-separated header hold this token, in any case, on any of its lines (RFC 9110, section 5.6.1)?
   * @param lowerToken in lower case.
   */
  hasToken(id: FieldId, lowerToken: string): boolean {
    if (!this.has(id)) return false;
    for (let line = 0; line < this.count; line += 1) {
      if (this.idAt(line) !== id || !this.isUsualAt(line)) continue;
      if (this.isValue(line, lowerToken)) return true; // nearly always the only element
      const value = this.value(line).toLowerCase();
      if (value.includes(",") && value.split(",").some((element) => element.trim() === lowerToken)) return true;
    }
    return false;
  }

  /** Compares a value without regard to the case of ASCII letters, without making a string. */
  isValue(line: number, lower: string): boolean {
    const start = this.valueStart(line);
    return this.valueEnd(line) - start === lower.length && this.startsWith(line, lower);
  }

  /** Does the value start with this text, in any case? */
  startsWith(line: number, lower: string): boolean {
    const { bytes } = this;
    const start = this.valueStart(line);
    if (this.valueEnd(line) - start < lower.length) return false;
    for (let i = 0; i < lower.length; i += 1) {
      const byte = bytes[start + i] ?? 0;
      const wanted = lower.charCodeAt(i);
      if (byte !== wanted && !(byte >= 0x41 && byte <= 0x5a && byte + 0x20 === wanted)) return false;
    }
    return true;
  }

  /** Is the value exactly this text? @param text one character per byte. */
  isExactly(line: number, text: string): boolean {
    const { bytes } = this;
    const start = this.valueStart(line);
    if (this.valueEnd(line) - start !== text.length) return false;
    for (let i = 0; i < text.length; i += 1) if (bytes[start + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  /** Does the comparable form of the name start with this? */
  nameStartsWith(line: number, comparable: string): boolean {
    const { bytes } = this;
    const start = this.nameStart(line);
    if (this.nameEnd(line) - start < comparable.length) return false;
    for (let i = 0; i < comparable.length; i += 1) {
      if (((foldedBytes[bytes[start + i] ?? 0] ?? 0) & 0x7f) !== comparable.charCodeAt(i)) return false;
    }
    return true;
  }

  /** All of it as strings, for whoever is in no hurry. */
  list(): string[] {
    const list: string[] = [];
    for (let line = 0; line < this.count; line += 1) list.push(this.name(line), this.value(line));
    return list;
  }

  #note(id: number): void {
    const bit = 1 << id;
    this.#repeated |= this.#seen & bit;
    this.#seen |= bit;
  }

  #grow(): void {
    const larger = new Int32Array(this.#index.length * 2);
    larger.set(this.#index);
    this.#index = larger;
  }
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab;
}

function badHeaderStart(byte: number): FramingError {
  if (byte === space || byte === tab) {
    return new FramingError("folded_header", "A header line must not start with white space: folding is not supported");
  }
  if (byte === colon) return new FramingError("bad_header_name", "A header has an empty name");
  return badHeaderName(byte);
}

function badHeaderName(byte: number): FramingError {
  if (byte === space || byte === tab) {
    return new FramingError("bad_header_name", "A header name must be followed by its colon without white space");
  }
  if (byte === cr || byte === lf) {
    return new FramingError("bad_header_line", "A header line must have a name, a colon and CRLF at its end");
  }
  return new FramingError("bad_header_name", "A header name holds a byte that is not allowed in names");
}

function badHeaderValue(byte: number): FramingError {
  if (byte === cr || byte === lf) {
    return new FramingError("bad_line_end", "Every line of a head must end with CRLF, and hold no other CR or LF");
  }
  return new FramingError("bad_header_value", "A header value holds a control byte");
}
