import type { Transform } from "node:stream";
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from "node:zlib";

/** Content codings (RFC 9110, section 8.4) that can be decoded while they stream by. */

export type Coding = "gzip" | "deflate" | "br" | "zstd";

/** More codings on top of each other are nobody's honest answer. */
const maxCodings = 2;

/** The codings of a `Content-Encoding` in the order in which they were applied; undefined when one is not known. */
export function parseCodings(values: readonly string[]): readonly Coding[] | undefined {
  if (values.length === 0) return noCodings;
  const codings: Coding[] = [];
  for (const name of values.flatMap((value) => value.split(","))) {
    const coding = name.trim().toLowerCase();
    if (coding === "" || coding === "identity") continue;
    const known = aliases.get(coding);
    if (known === undefined || codings.length === maxCodings) return undefined;
    codings.push(known);
  }
  return codings;
}

const noCodings: readonly Coding[] = [];

const aliases: ReadonlyMap<string, Coding> = new Map([
  ["gzip", "gzip"],
  ["x-gzip", "gzip"],
  ["deflate", "deflate"],
  ["br", "br"],
  // Runtimes before Node 22.15 have no zstd.
  ...(typeof createZstdDecompress === "function" ? ([["zstd", "zstd"]] as const) : []),
]);

/**
 * An `Accept-Encoding` for the upstream that asks for nothing that cannot be looked into; the same string when there is
 * nothing to take away. Weights stay as they are; what is left of `*` is `gzip`, with its weight.
 */
export function narrowAcceptEncoding(value: string): string {
  const elements = value.split(",").map((element) => element.trim());
  const kept = elements.flatMap((element) => {
    const [name = "", ...parameters] = element.split(";");
    const coding = name.trim().toLowerCase();
    if (coding === "identity" || aliases.has(coding)) return [element];
    return coding === "*" ? [["gzip", ...parameters].join(";")] : [];
  });
  if (kept.length === elements.length && kept.every((element, at) => element === elements[at])) return value;
  return kept.length === 0 ? "identity" : kept.join(", ");
}

/** RFC 9659 lets a server use windows of this size, and no client has to offer more memory. */
const zstdWindowLogMax = 23;

/**
 * Makes a decoder. It reports data that ends too early, but for zstd, and on Deno for
 * Brotli, where the runtimes take the end of the data for the end: there, only the framing of HTTP tells. `deflate` needs the first bytes: some servers send it bare, without the header of zlib.
 */
export function createDecoder(coding: Coding, first: Buffer): Transform {
  switch (coding) {
    case "gzip":
      return createGunzip();
    case "br":
      return createBrotliDecompress();
    case "zstd":
      return createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } });
    case "deflate":
      return hasZlibHeader(first) ? createInflate() : createInflateRaw();
  }
}

/** RFC 1950, section 2.2: the method, and a check over both bytes. */
function hasZlibHeader(first: Buffer): boolean {
  const [method = 0, flags = 0] = first;
  // One byte alone says enough: no block of bare deflate that a compressor makes begins so.
  return (method & 0x0f) === 8 && (first.length < 2 || ((method << 8) | flags) % 31 === 0);
}

/** No coding is cheaper for what it claims to hold: deflate's best is 1032 to 1. */
const maxRatio = 1100;
const alwaysAllowedBytes = 64 * 1024 * 1024;

/** Is what came out in no proportion to what went in? Brotli and zstd unfold a gigabyte from a few hundred bytes. */
export function isBomb(encodedBytes: number, decodedBytes: number): boolean {
  return decodedBytes > alwaysAllowedBytes && decodedBytes > encodedBytes * maxRatio;
}
