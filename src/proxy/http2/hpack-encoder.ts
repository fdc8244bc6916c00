import type { HeaderList } from "../http1/fields.ts";
import { staticTable } from "./header-table.ts";

/** By name: the first entry with it, and the entries with a value. */
const byName = new Map<string, { readonly first: number; readonly byValue: Map<string, number> }>();
for (const [at, [name, value]] of staticTable.entries()) {
  const known = byName.get(name) ?? { first: at + 1, byValue: new Map<string, number>() };
  if (value !== "") known.byValue.set(value, at + 1);
  byName.set(name, known);
}

/** What hints at a credential by its name alone. */
const secretName = /auth|cookie|token|key|secret|passw|credential|signature|session/;

/** Fields that no intermediary may put into a table (RFC 7541, section 7.1.3). */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}

/**
 * Writes header blocks (RFC 7541) with the static table alone. Nothing is ever added to a table: what two requests have
 * in common then does not show in the length of the second, which is how secrets were read out of compressed headers
 * (section 7.1). The first block says that the table is empty, so that no limit of the peer concerns us.
 */
export class HpackEncoder {
  #bytes = Buffer.allocUnsafeSlow(1024);
  #length = 0;
  #hasStarted = false;

  /**
   * @param fields names in lower case; one character per byte.
   * @param isSecret which names are written so that no proxy behind indexes their values.
   * @returns memory that the next call writes into.
   */
  encode(fields: HeaderList, isSecret: (name: string) => boolean = isSecretName): Buffer {
    this.#length = 0;
    if (!this.#hasStarted) {
      this.#hasStarted = true;
      this.#integer(0x20, 5, 0);
    }
    for (let at = 0; at < fields.length; at += 2) this.#field(fields[at] ?? "", fields[at + 1] ?? "", isSecret);
    return this.#bytes.subarray(0, this.#length);
  }

  #field(name: string, value: string, isSecret: (name: string) => boolean): void {
    const known = byName.get(name);
    const exact = known?.byValue.get(value);
    if (exact !== undefined) {
      this.#integer(0x80, 7, exact);
      return;
    }
    const index = known?.first ?? 0;
    this.#integer(isSecret(name) ? 0x10 : 0x00, 4, index);
    if (index === 0) this.#string(name);
    this.#string(value);
  }

  #string(text: string): void {
    this.#integer(0x00, 7, text.length);
    this.#reserve(text.length);
    this.#bytes.write(text, this.#length, "latin1");
    this.#length += text.length;
  }

  /** RFC 7541, section 5.1. */
  #integer(pattern: number, prefixBits: number, value: number): void {
    this.#reserve(8);
    const mask = (1 << prefixBits) - 1;
    if (value < mask) {
      this.#bytes[this.#length++] = pattern | value;
      return;
    }
    this.#bytes[this.#length++] = pattern | mask;
    let rest = value - mask;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#length++] = 0x80 | (rest & 0x7f);
    this.#bytes[this.#length++] = rest;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + count));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
