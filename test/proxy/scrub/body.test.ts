import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AppError } from "../../../src/errors.ts";
import { BodyScrubber } from "../../../src/proxy/scrub/body.ts";
import { isBomb, narrowAcceptEncoding, parseCodings } from "../../../src/proxy/scrub/codings.ts";
import { NeedleSet } from "../../../src/proxy/scrub/needles.ts";
import type { ActiveScrubMode } from "../../../src/proxy/scrub/scanner.ts";
import { encodings } from "./encodings.ts";

const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const needles = new NeedleSet([{ key: "STRIPE_KEY", value: secret }]);
const answer = `{"authorization":"Bearer ${secret}","padding":"${"text ".repeat(4000)}"}`;
const redacted = answer.replace(secret, "[redacted]**********************");

const compress: Readonly<Record<string, (text: string | Buffer) => Buffer>> = {
  gzip: gzipSync,
  "x-gzip": gzipSync,
  deflate: deflateSync,
  "deflate, bare": (text) => deflateRawSync(text),
  br: brotliCompressSync,
  zstd: zstdCompressSync,
  "gzip, br": (text) => brotliCompressSync(gzipSync(text)),
  "gzip of two members": (text) => {
    const bytes = Buffer.from(text);
    return Buffer.concat([gzipSync(bytes.subarray(0, 40)), gzipSync(bytes.subarray(40))]);
  },
};
const codingOf = (name: string) =>
  name.startsWith("deflate") ? "deflate" : name.startsWith("gzip of") ? "gzip" : name;

interface Result {
  readonly text: string;
  readonly failure: AppError | undefined;
  readonly scrubber: BodyScrubber;
}

function scrub(mode: ActiveScrubMode, coding: string | undefined, chunks: readonly Buffer[], status = 200) {
  return new Promise<Result>((resolve) => {
    const parts: Buffer[] = [];
    const finish = (failure?: AppError) =>
      resolve({ text: Buffer.concat(parts).toString("latin1"), failure, scrubber });
    const contentEncodings = coding === undefined ? [] : [coding];
    const scrubber = new BodyScrubber(
      { mode, needles, status, contentEncodings },
      {
        onBody: (chunk) => void parts.push(Buffer.from(chunk)),
        onEnd: finish,
        onDrain: () => undefined,
        onFailure: finish,
      },
    );
    for (const chunk of chunks) scrubber.push(chunk);
    scrubber.end();
  });
}

function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
}

describe("a body", () => {
  it.each(Object.keys(compress))("is scrubbed inside of %s, and goes on without it", async (name) => {
    const encoded = compress[name]?.(answer) ?? Buffer.alloc(0);
    for (const size of [1, 7, 1000, 1e6]) {
      const { text, failure, scrubber } = await scrub("redact", codingOf(name), cut(encoded, size));
      expect(failure).toBeUndefined();
      expect(text).toBe(redacted);
      expect([...scrubber.scanner.found]).toEqual(["STRIPE_KEY"]);
      expect(scrubber.keepsLength).toBe(false);
    }
  });

  it.each(Object.keys(compress))("in the mode detect stays in %s, byte for byte, and is looked into", async (name) => {
    const encoded = compress[name]?.(answer) ?? Buffer.alloc(0);
    const { text, failure, scrubber } = await scrub("detect", codingOf(name), cut(encoded, 100));
    expect(failure).toBeUndefined();
    expect(text).toBe(encoded.toString("latin1"));
    expect([...scrubber.scanner.found]).toEqual(["STRIPE_KEY"]);
    expect(scrubber.keepsLength).toBe(true);
  });

  it.each(["gzip", undefined])("in the mode block ends where a value begins (%s)", async (coding) => {
    const body = `before ${answer}`;
    const bytes = coding === "gzip" ? gzipSync(body) : Buffer.from(body);
    const { text, failure } = await scrub("block", coding, cut(bytes, 10));
    expect(failure?.code).toBe("credential_in_answer");
    expect(text).not.toContain("sk_");
  });

  it("without a coding keeps its length", async () => {
    const { text, scrubber } = await scrub("redact", undefined, cut(Buffer.from(answer), 11));
    expect(text).toBe(redacted);
    expect(scrubber.keepsLength).toBe(true);
    expect(text).toHaveLength(answer.length);
  });

  it("that is empty may claim any coding", async () => {
    const { text, failure } = await scrub("redact", "gzip", []);
    expect([text, failure]).toEqual(["", undefined]);
  });

  it.each(["redact", "block"] as const)("that is not in the coding it claims is a bad answer (%s)", async (mode) => {
    const { failure } = await scrub(mode, "gzip", [Buffer.from("not gzip at all")]);
    expect(failure?.code).toBe("upstream_bad_answer");
  });

  it("that breaks off within its coding is a bad answer, never a complete one", async () => {
    for (const name of ["gzip", "deflate"]) {
      const encoded = compress[name]?.(answer) ?? Buffer.alloc(0);
      const { failure } = await scrub("redact", name, [encoded.subarray(0, encoded.length - 12)]);
      expect(failure?.code, name).toBe("upstream_bad_answer");
    }
  });

  it("that cannot be decoded passes in the mode detect, where the agent gets the original", async () => {
    const { text, failure } = await scrub("detect", "gzip", [Buffer.from("not gzip "), Buffer.from("at all")]);
    expect([text, failure]).toEqual(["not gzip at all", undefined]);
  });

  it.each([
    { coding: "compress", status: 200, because: "its coding is not known" },
    { coding: "gzip, gzip, gzip", status: 200, because: "it has more codings than an honest one" },
    { coding: "gzip", status: 206, because: "the middle of something compressed cannot be decoded" },
  ])("passes as it stands, or is blocked, when $because", async ({ coding, status }) => {
    const { text, scrubber } = await scrub("redact", coding, [Buffer.from(`raw ${secret}`)], status);
    expect(text).toBe("raw [redacted]**********************");
    expect(scrubber.view).toBe("blind");
    await expect(scrub("block", coding, [], status)).rejects.toMatchObject({ code: "answer_not_scannable" });
  });

  it("loses the headers that speak of the bytes it had", () => {
    const headers = [
      "Content-Type",
      "a/b",
      "Content-Encoding",
      "br",
      "content-length",
      "9",
      "Content-MD5",
      "x",
      "ETag",
      "y",
    ];
    const sink = {
      onBody: () => undefined,
      onEnd: () => undefined,
      onDrain: () => undefined,
      onFailure: () => undefined,
    };
    const decoded = new BodyScrubber({ mode: "redact", needles, status: 200, contentEncodings: ["br"] }, sink);
    expect(decoded.headers(headers)).toEqual(["Content-Type", "a/b", "ETag", "y"]);
    const plain = new BodyScrubber({ mode: "redact", needles, status: 200, contentEncodings: [] }, sink);
    expect(plain.headers(headers)).toBe(headers);
    const restoring = new NeedleSet([{ key: "SID", value: "AC0123456789", placeholder: "__sid__" }]);
    const grown = new BodyScrubber({ mode: "redact", needles: restoring, status: 200, contentEncodings: [] }, sink);
    expect(grown.headers(headers)).toEqual(["Content-Type", "a/b", "Content-Encoding", "br", "ETag", "y"]);
  });

  it("that unfolds out of all proportion is given up", async () => {
    const bomb = brotliCompressSync(Buffer.alloc(80 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(10_000);
    const { text, failure } = await scrub("redact", "br", [bomb]);
    expect(failure?.code).toBe("answer_unfolds");
    expect(text.length).toBeLessThan(66 * 1024 * 1024);
    expect(isBomb(1024 * 1024, 1000 * 1024 * 1024)).toBe(false);
  });

  it("comes out the same however it was cut and coded", async () => {
    const property = fc.asyncProperty(
      fc.constantFrom(...Object.keys(compress)),
      fc.array(fc.constantFrom("x", secret, secret.slice(0, 9), encodeURIComponent("é "), "\n\n"), { maxLength: 30 }),
      fc.integer({ min: 1, max: 60 }),
      async (name, pieces, size) => {
        const body = pieces.join("-");
        const encoded = compress[name]?.(body) ?? Buffer.alloc(0);
        const { text } = await scrub("redact", codingOf(name), cut(encoded, size));
        expect(text).toBe(body.replaceAll(secret, "[redacted]**********************"));
      },
    );
    await fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 200) });
  });

  it("shows no form of a value in any coding, and is whole where it holds none", async () => {
    const property = fc.asyncProperty(
      fc.constantFrom("", ...Object.keys(compress)),
      fc.constantFrom(...encodings),
      fc.string({ maxLength: 30 }).map((noise) => noise.replaceAll(/[%&\\]/g, ".")),
      fc.integer({ min: 1, max: 60 }),
      fc.boolean(),
      async (name, { encode }, noise, size, holdsOne) => {
        const form = encode(secret);
        const body = `${noise}<${holdsOne ? form : form.slice(0, form.length / 2)}>${noise}`;
        const encoded = compress[name]?.(body) ?? Buffer.from(body);
        const { text, failure } = await scrub("redact", name === "" ? undefined : codingOf(name), cut(encoded, size));
        expect(failure).toBeUndefined();
        if (holdsOne) expect(text).not.toContain(form);
        else expect(Buffer.from(text, "latin1").toString()).toBe(body);
      },
    );
    await fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 300) });
  });
});

describe("codings", () => {
  it.each([
    { value: "gzip, deflate, br, zstd", narrowed: "gzip, deflate, br, zstd", because: "all of them are known" },
    { value: "gzip;q=0.5, compress, br", narrowed: "gzip;q=0.5, br", because: "nothing reads compress" },
    { value: "*", narrowed: "gzip", because: "anything would be too much" },
    { value: "*;q=0", narrowed: "gzip;q=0", because: "nothing but identity stays that" },
    { value: "dcb", narrowed: "identity", because: "no header at all would ask for anything" },
    { value: "identity", narrowed: "identity", because: "that can be read" },
  ])("are asked for as $narrowed instead of $value: $because", ({ value, narrowed }) => {
    expect(narrowAcceptEncoding(value)).toBe(narrowed);
  });

  it("are read in any case, without identity", () => {
    expect(parseCodings(["GZip, identity", "BR"])).toEqual(["gzip", "br"]);
    expect(parseCodings(["gzip;q=1"])).toBeUndefined();
  });
});
