/** The tables that header fields are looked up in (RFC 7541, sections 2.3 and 4, appendix A). */

/** Entry 1 stands first: name and value. */
export const staticTable: readonly (readonly [name: string, value: string])[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...["accept-language", "accept-ranges", "accept", "access-control-allow-origin", "age", "allow"].map(named),
  ...["authorization", "cache-control", "content-disposition", "content-encoding", "content-language"].map(named),
  ...["content-length", "content-location", "content-range", "content-type", "cookie", "date", "etag"].map(named),
  ...["expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range"].map(named),
  ...["if-unmodified-since", "last-modified", "link", "location", "max-forwards", "proxy-authenticate"].map(named),
  ...["proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie"].map(named),
  ...["strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate"].map(named),
];

function named(name: string): readonly [string, string] {
  return [name, ""];
}

/** What an entry counts besides its bytes (RFC 7541, section 4.1). */
export const entryOverheadBytes = 32;

interface Entry {
  readonly name: string;
  readonly value: string;
  readonly bytes: number;
}

/** The entries that the peer's encoder added, newest first. */
export class DynamicTable {
  /** Oldest first, from `#first` on. */
  readonly #entries: (Entry | undefined)[] = [];
  #first = 0;
  #bytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get length(): number {
    return this.#entries.length - this.#first;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @param index 0 is the newest. */
  find(index: number): Entry | undefined {
    return index < this.length ? this.#entries[this.#entries.length - 1 - index] : undefined;
  }

  /** An entry larger than the table empties it, which is no error (RFC 7541, section 4.4). */
  add(name: string, value: string): void {
    const bytes = name.length + value.length + entryOverheadBytes;
    this.#evict(this.#maxBytes - bytes);
    if (bytes > this.#maxBytes) return;
    this.#entries.push({ name, value, bytes });
    this.#bytes += bytes;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evict(maxBytes);
  }

  #evict(maxBytes: number): void {
    while (this.#bytes > maxBytes && this.length > 0) {
      this.#bytes -= this.#entries[this.#first]?.bytes ?? 0;
      this.#entries[this.#first] = undefined;
      this.#first += 1;
    }
    if (this.#first < 256 && this.length > 0) return;
    this.#entries.splice(0, this.#first);
    this.#first = 0;
  }
}
