import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRequestHead, parseResponseHead } from "../../../src/proxy/http1/head.ts";
import { chunkPrefix, lastChunk, serializeResponseHead } from "../../../src/proxy/http1/serialize.ts";
import { plain, readRequest, readResponse } from "./read-message.ts";
import { requestSeeds, responseSeeds } from "./smuggling-seeds.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) };

/** Cuts bytes at the given places, which may coincide: empty chunks are part of the exercise. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => bytes.subarray(borders[i], end));
}

/** A refusal may name another of several faults when it comes earlier; what is read must be the same to the byte. */
function verdict<T extends { kind: string }>(read: T): T | "refused" {
  return read.kind === "refused" ? "refused" : read;
}

const places = fc.array(fc.nat(1000), { maxLength: 8 });
const ofCharacters = (allowed: RegExp) =>
  Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).filter((character) => allowed.test(character));
const token = fc.string({
  unit: fc.constantFrom(...ofCharacters(/[!#$%&'*+\-.^_`|~0-9A-Za-z]/)),
  minLength: 1,
  maxLength: 12,
});
const text = fc
  .string({ unit: fc.constantFrom(...ofCharacters(/[\t\x20-\x7e\x80-\xff]/)), maxLength: 30 })
  .map((value) => value.replace(/^[\t ]+|[\t ]+$/g, ""));
const headers = fc.array(fc.tuple(token, text), { maxLength: 12 }).map((pairs) => pairs.flat());

describe("however a byte stream is cut", () => {
  it.each(requestSeeds)("the verdict is the same: request %j", (seed) => {
    const bytes = Buffer.from(seed, "latin1");
    const whole = verdict(readRequest(bytes));
    expect(verdict(readRequest(...[...bytes].map((byte) => Buffer.of(byte))))).toEqual(whole);
    for (let at = 0; at <= bytes.length; at += 1) {
      expect(verdict(readRequest(bytes.subarray(0, at), bytes.subarray(at)))).toEqual(whole);
    }
  });

  it.each(responseSeeds)("the verdict is the same: response %j", (seed) => {
    const bytes = Buffer.from(seed, "latin1");
    const whole = verdict(readResponse("GET", bytes));
    expect(verdict(readResponse("GET", ...[...bytes].map((byte) => Buffer.of(byte))))).toEqual(whole);
    for (let at = 0; at <= bytes.length; at += 1) {
      expect(verdict(readResponse("GET", bytes.subarray(0, at), bytes.subarray(at)))).toEqual(whole);
    }
  });

  it("chunked bodies come out whole", () => {
    const data = fc.uint8Array({ minLength: 1, maxLength: 40 });
    const property = fc.property(fc.array(data, { maxLength: 6 }), headers, places, (parts, trailers, at) => {
      const safe = trailers.flatMap((part, i) => (i % 2 === 0 ? [`x-${part}`, trailers[i + 1] ?? ""] : []));
      const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
      const encoded = parts.flatMap((part) => [Buffer.from(chunkPrefix(part.length)), part, Buffer.from("\r\n")]);
      const bytes = Buffer.concat([Buffer.from(head), ...encoded, Buffer.from(lastChunk(safe), "latin1")]);
      const read = readRequest(...cut(Buffer.concat([bytes, Buffer.from("GET")]), at));
      if (read.kind !== "message") throw new Error(JSON.stringify(read));
      expect(read.message.body.equals(Buffer.concat(parts))).toBe(true);
      expect(read.message.trailers).toEqual(safe);
      expect(read.message.end).toBe(bytes.length);
    });
    fc.assert(property, runs);
  });
});

describe("whatever arrives", () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc
      .array(
        fc.constantFrom(
          "GET",
          " ",
          "/",
          "HTTP/1.1",
          "\r\n",
          "\n",
          "\r",
          ":",
          "X",
          "0",
          "5",
          ";",
          "200",
          "chunked",
          "Transfer-Encoding",
          "Content-Length",
          "Host",
        ),
        { maxLength: 60 },
      )
      .map((parts) => Buffer.from(parts.join(""), "latin1")),
  );

  // readRequest and readResponse let nothing but a FramingError pass as a refusal, and check every count of bytes.
  it("is a message, a refusal or incomplete, the same for every cut", () => {
    const seeds = fc.constantFrom(...requestSeeds, ...responseSeeds).map((seed) => Buffer.from(seed, "latin1"));
    const property = fc.property(fc.array(fc.oneof(noise, seeds), { maxLength: 3 }), places, (parts, at) => {
      const bytes = Buffer.concat(parts);
      expect(verdict(readRequest(...cut(bytes, at)))).toEqual(verdict(readRequest(bytes)));
      expect(verdict(readResponse("GET", ...cut(bytes, at)))).toEqual(verdict(readResponse("GET", bytes)));
    });
    fc.assert(property, runs);
  });
});

describe("what is well-formed, we read", () => {
  const blanks = fc.constantFrom("", " ", "\t", "  \t ");
  const lines = fc.array(fc.tuple(token, blanks, text, blanks), { maxLength: 40 });
  const written = (parts: readonly (readonly [string, string, string, string])[]) =>
    parts.map(([name, before, value, after]) => `${name}:${before}${value}${after}\r\n`).join("");
  const expected = (parts: readonly (readonly [string, string, string, string])[]) =>
    parts.flatMap(([name, , value]) => [name, value]);

  it("as the same request", () => {
    const target = fc.string({ unit: fc.constantFrom(...ofCharacters(/[!"$-~]/)) }).map((rest) => `/${rest}`);
    const property = fc.property(
      token.filter((method) => method !== "PRI" && method !== "CONNECT"),
      target,
      lines,
      (method, path, parts) => {
        const bytes = Buffer.from(`${method} ${path} HTTP/1.1\r\n${written(parts)}\r\n`, "latin1");
        expect(plain(parseRequestHead(bytes))).toEqual({ method, target: path, minor: 1, headers: expected(parts) });
      },
    );
    fc.assert(property, runs);
  });

  it("as the same response", () => {
    const property = fc.property(fc.integer({ min: 100, max: 999 }), text, headers, (status, reason, list) => {
      const read = parseResponseHead(Buffer.from(serializeResponseHead(status, reason, list), "latin1"));
      expect(plain(read)).toEqual({ status, reason, minor: 1, headers: list });
    });
    fc.assert(property, runs);
  });
});
