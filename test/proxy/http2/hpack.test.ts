import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { staticTable } from "../../../src/proxy/http2/header-table.ts";
import { HpackDecoder } from "../../../src/proxy/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import { Http2ConnectionError } from "../../../src/proxy/http2/http2-error.ts";
import { decodeHuffman, huffmanCodes } from "../../../src/proxy/http2/huffman.ts";

const limits = { maxBytes: 64 * 1024, maxFields: 200 };
const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

/** The other direction, which the product does not need. */
function encodeHuffman(text: string): Buffer {
  let bits = "";
  for (const byte of Buffer.from(text, "latin1")) {
    const { code, bits: width } = huffmanCodes[byte] ?? { code: 0, bits: 0 };
    bits += code.toString(2).padStart(width, "0");
  }
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}

const latin1 = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString("latin1"));

describe("the static table", () => {
  it("has the entries of the RFC where it puts them", () => {
    expect(staticTable).toHaveLength(61);
    expect(staticTable[0]).toEqual([":authority", ""]);
    expect(staticTable[15]).toEqual(["accept-encoding", "gzip, deflate"]);
    expect(staticTable[22]).toEqual(["authorization", ""]);
    expect(staticTable[31]).toEqual(["cookie", ""]);
    expect(staticTable[37]).toEqual(["host", ""]);
    expect(staticTable[47]).toEqual(["proxy-authenticate", ""]);
    expect(staticTable[54]).toEqual(["set-cookie", ""]);
    expect(staticTable[60]).toEqual(["www-authenticate", ""]);
  });
});

describe("Huffman coding", () => {
  it("has the codes of the RFC", () => {
    expect(huffmanCodes[0x30]).toEqual({ code: 0x0, bits: 5 });
    expect(huffmanCodes[0x61]).toEqual({ code: 0x3, bits: 5 });
    expect(huffmanCodes[0x0a]).toEqual({ code: 0x3ffffffc, bits: 30 });
    expect(huffmanCodes[0xff]).toEqual({ code: 0x3ffffee, bits: 26 });
    expect(huffmanCodes[256]).toEqual({ code: 0x3fffffff, bits: 30 });
  });

  it("gives back any bytes", () => {
    fc.assert(
      fc.property(latin1, (text) => {
        const coded = encodeHuffman(text);
        expect(decodeHuffman(coded, 0, coded.length)).toBe(text);
      }),
    );
  });

  it.each([
    { bytes: "ff", because: "eight bits of padding are a byte too many" },
    { bytes: "f1e3c2e5f23a6ba0ab90f4fe", because: "the padding is not of ones" },
    { bytes: "fffffffc", because: "the end stands inside of the string" },
  ])("refuses $bytes: $because", ({ bytes }) => {
    expect(() => decodeHuffman(hex(bytes), 0, hex(bytes).length)).toThrow(Http2ConnectionError);
  });
});

describe("reading header blocks", () => {
  it("reads the requests of RFC 7541, appendix C.4, which build on each other", () => {
    const decoder = new HpackDecoder();
    expect(decoder.decode(hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), limits)).toEqual([
      ":method",
      "GET",
      ":scheme",
      "http",
      ":path",
      "/",
      ":authority",
      "www.example.com",
    ]);
    expect(decoder.decode(hex("8286 84be 5886 a8eb 1064 9cbf"), limits)).toEqual([
      ":method",
      "GET",
      ":scheme",
      "http",
      ":path",
      "/",
      ":authority",
      "www.example.com",
      "cache-control",
      "no-cache",
    ]);
    expect(decoder.decode(hex("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"), limits)).toEqual([
      ...[":method", "GET", ":scheme", "https", ":path", "/index.html"],
      ...[":authority", "www.example.com", "custom-key", "custom-value"],
    ]);
  });

  it("evicts entries as the answers of appendix C.6 need it, in a table of 256 bytes", () => {
    const decoder = new HpackDecoder();
    const resize = hex("3fe101");
    const first = hex(
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
    );
    expect(decoder.decode(Buffer.concat([resize, first]), limits)?.slice(0, 2)).toEqual([":status", "302"]);
    expect(decoder.decode(hex("4883 640e ffc1 c0bf"), limits)).toEqual([
      ...[":status", "307", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:21 GMT"],
      ...["location", "https://www.example.com"],
    ]);
    expect(
      decoder.decode(
        hex(
          "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ),
        limits,
      ),
    ).toContain("foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
  });

  it.each([
    { block: "80", because: "there is no entry 0" },
    { block: "be", because: "the dynamic table is empty" },
    { block: "ff", because: "a number breaks off" },
    { block: "ffffffffffff0f", because: "a number is larger than anything honest" },
    { block: "0003666f", because: "a string breaks off" },
    { block: "3fe13f", because: "the table would be larger than allowed" },
    { block: "8220", because: "the size changes behind a field" },
  ])("refuses $block: $because", ({ block }) => {
    expect(() => new HpackDecoder().decode(hex(block), limits)).toThrow(Http2ConnectionError);
  });

  it("does not unfold a bomb, and reads the next block as if nothing had been", () => {
    const decoder = new HpackDecoder();
    const value = "x".repeat(3000);
    const entry = Buffer.concat([hex("40"), hex("0162"), hex("7fb916"), Buffer.from(value.slice(0, 2999 - 31))]);
    expect(
      decoder.decode(
        Buffer.concat([entry.subarray(0, 3), hex("7fb916"), Buffer.from(value.slice(0, 127 + 2873))]),
        limits,
      ),
    ).toBeDefined();
    expect(decoder.decode(Buffer.alloc(200_000, 0xbe), limits)).toBeUndefined();
    expect(decoder.decode(hex("be82"), limits)?.slice(2)).toEqual([":method", "GET"]);
  });

  it("neither crashes nor hangs on random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          new HpackDecoder().decode(Buffer.from(bytes), limits);
        } catch (error) {
          expect(error).toBeInstanceOf(Http2ConnectionError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("writing header blocks", () => {
  const fields = fc
    .array(fc.tuple(fc.oneof(fc.constantFrom(":status", "content-type", "cookie"), latin1), latin1), { maxLength: 12 })
    .map((pairs) => pairs.flat());

  it("gives back any fields, block after block", () => {
    fc.assert(
      fc.property(fc.array(fields, { maxLength: 5 }), (blocks) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder();
        for (const block of blocks) expect(decoder.decode(encoder.encode(block), limits)).toEqual(block);
      }),
    );
  });

  it("says first that the table is empty, whatever limit the peer has", () => {
    const encoder = new HpackEncoder();
    expect(encoder.encode([":status", "200"]).toString("hex")).toBe("2088");
    expect(encoder.encode([":status", "200"]).toString("hex")).toBe("88");
  });

  it.each(["authorization", "cookie", "x-api-key", "proxy-authorization", "x-session-token"])(
    "marks %s as never to be indexed",
    (name) => {
      const encoder = new HpackEncoder();
      encoder.encode([]);
      expect((encoder.encode([name, "secret"])[0] ?? 0) & 0xf0).toBe(0x10);
      expect((encoder.encode(["accept", "text/html"])[0] ?? 0) & 0xf0).toBe(0x00);
    },
  );

  it("never adds to the peer's table", () => {
    fc.assert(
      fc.property(fields, (list) => {
        const encoder = new HpackEncoder();
        encoder.encode([]);
        const first = Buffer.from(encoder.encode(list));
        expect(encoder.encode(list).equals(first)).toBe(true);
      }),
    );
  });
});
