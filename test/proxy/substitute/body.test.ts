import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BodySubstituter } from "../../../src/proxy/substitute/body.ts";
import { type BoundSubstitution, Substitutions } from "../../../src/proxy/substitute/substitutions.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 500) };
const odd = 'val"with\\slash <é>&\n';

function on(value: string, ...more: Partial<BoundSubstitution>[]): Substitutions {
  return new Substitutions([
    { key: "TOKEN", placeholder: "__tok__", value, in: ["body"] },
    ...more.map((other, at) => ({
      key: `K${at}`,
      placeholder: `__${at}__`,
      value: "",
      in: ["body"] as const,
      ...other,
    })),
  ]);
}

interface Request {
  readonly type?: string | undefined;
  readonly coding?: string;
  /** Chunked when undefined. */
  readonly length?: number;
}

/** What goes upstream, and how it is framed. */
function send(
  substitutions: Substitutions,
  request: Request,
  chunks: readonly (string | Buffer)[],
  maxCollectedBytes = 1e6,
) {
  const headers = [
    ...(request.type === undefined ? [] : ["Content-Type", request.type]),
    ...(request.coding === undefined ? [] : ["Content-Encoding", request.coding]),
  ];
  const substituter = BodySubstituter.for(substitutions, { headers, length: request.length }, { maxCollectedBytes });
  if (substituter === undefined)
    return { body: Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))), framing: undefined };
  const parts = chunks.map((chunk) => substituter.push(Buffer.from(chunk)));
  if (substituter.framing === "collected") expect(Buffer.concat(parts)).toHaveLength(0);
  return { body: Buffer.concat([...parts, substituter.end()]), framing: substituter.framing };
}

const refusal = (code: string, status: number) => expect.objectContaining({ code, status }) as Error;

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => bytes.subarray(borders[i], end));
}

const disposition = 'Content-Disposition: form-data; name="a"';
const multipart = (...parts: string[]) => `${parts.map((part) => `--b0\r\n${part}\r\n`).join("")}--b0--\r\n`;

describe("placeholders in a body", () => {
  it.each([
    { type: "application/x-www-form-urlencoded", value: "s3cr&t=val+ue", sent: "s3cr%26t%3Dval%2Bue" },
    { type: "application/x-www-form-urlencoded; charset=utf-8", value: "a b", sent: "a+b" },
    { type: "application/json", value: 'val"with\\slash', sent: 'val\\"with\\\\slash' },
    { type: "application/json", value: "<&>\n", sent: "\\u003c\\u0026\\u003e\\n" },
    { type: "application/vnd.api+json", value: '"', sent: '\\"' },
    { type: "application/x-ndjson", value: '"\n', sent: '\\"\\n' },
    { type: "Application/JSON; charset=UTF-8", value: '"', sent: '\\"' },
    { type: "application/x-amz-json-1.1", value: '"', sent: '\\"' },
    { type: "application/xml", value: "<a b='c'>&\"", sent: "&#60;a b=&#39;c&#39;&#62;&#38;&#34;" },
    { type: "application/soap+xml", value: "<", sent: "&#60;" },
    { type: "text/plain", value: odd, sent: odd },
    { type: "application/graphql", value: "a<b", sent: "a<b" },
    { type: undefined, value: "a<b", sent: "a<b" },
  ])("of type $type: $value is sent as $sent", ({ type, value, sent }) => {
    const { body, framing } = send(on(value), { type }, ["x=__tok__;__TOK__;__to", "k__"]);
    expect(body.toString()).toBe(`x=${sent};__TOK__;${sent}`);
    expect(framing).toBe("chunked");
  });

  it("are replaced in a collected body when its length has to be known", () => {
    const { body, framing } = send(on("value"), { type: "text/plain", length: 11 }, ["ab __t", "ok__ c"]);
    expect([body.toString(), framing]).toEqual(["ab value c", "collected"]);
  });

  it("are left alone where bodies are not declared, and where there is no body", () => {
    const elsewhere = new Substitutions([{ key: "T", placeholder: "__tok__", value: "v", in: ["path", "header"] }]);
    expect(send(elsewhere, {}, ["__tok__"])).toMatchObject({ framing: undefined });
    expect(send(on("v"), { length: 0 }, [])).toMatchObject({ framing: undefined });
  });

  it("leave a chunk the same buffer when it holds none", () => {
    const substituter = BodySubstituter.for(on("v"), { headers: [], length: undefined });
    const chunk = Buffer.from("nothing of interest");
    expect(substituter?.push(chunk)).toBe(chunk);
  });

  it("take the longest at each place in a single pass, however the body is cut", () => {
    const substitutions = on(
      "__tok__",
      { placeholder: "__tok__x__", value: "LONG" },
      { placeholder: "x__t", value: "X" },
    );
    const body = Buffer.from("__tok__ __tok__x__ __tok__x__tok__x__t__tok");
    const whole = send(substitutions, {}, [body]).body.toString();
    expect(whole).toBe("__tok__ LONG LONGtok__X__tok");
    const property = fc.property(fc.array(fc.nat(100), { maxLength: 6 }), (places) => {
      expect(send(substitutions, {}, cut(body, places)).body.toString()).toBe(whole);
    });
    fc.assert(property, runs);
  });

  it.each([
    { type: "application/octet-stream", because: "it is binary" },
    { type: "image/png", because: "it is binary" },
    { type: "application/json; charset=utf-16", because: "it has another encoding" },
    { type: "multipart/form-data", because: "no delimiter is named" },
  ])("refuse a body of type $type with one in it, and pass one without: $because", ({ type }) => {
    expect(() => send(on("v"), { type }, ["\x00__to", "k__"])).toThrow(refusal("placeholder_in_binary_body", 415));
    const passed = send(on("v"), { type, length: 3 }, ["abc"]);
    expect([passed.body.toString(), passed.framing]).toEqual(["abc", "declared"]);
  });

  it("are found in UTF-16, too", () => {
    const text = Buffer.from("a__tok__", "utf16le");
    for (const body of [text, Buffer.from(text).swap16()]) {
      expect(() => send(on("v"), { type: "text/plain; charset=utf-16" }, [body])).toThrow(
        refusal("placeholder_in_binary_body", 415),
      );
    }
  });

  it.each([
    { coding: "gzip", compress: gzipSync },
    { coding: "deflate", compress: deflateSync },
    { coding: "Deflate", compress: deflateRawSync },
    { coding: "br", compress: brotliCompressSync },
    { coding: "br, gzip", compress: (text: string) => gzipSync(brotliCompressSync(text)) },
  ])("refuse a body in $coding with one in it, and pass one without, byte for byte", ({ coding, compress }) => {
    const type = "application/json";
    expect(() => send(on("v"), { type, coding }, [compress("{__tok__}")])).toThrow(
      refusal("placeholder_in_compressed_body", 415),
    );
    const body = compress('{"a":1}');
    expect(send(on("v"), { type, coding, length: body.length }, [body]).body).toEqual(body);
  });

  it("refuse what cannot be looked into", () => {
    expect(() => send(on("v"), { coding: "compress" }, ["x"])).toThrow(refusal("body_coding_unknown", 415));
    expect(() => send(on("v"), { coding: "gzip, gzip, gzip" }, ["x"])).toThrow(refusal("body_coding_unknown", 415));
    expect(() => send(on("v"), { coding: "gzip" }, ["x"])).toThrow(refusal("body_not_decodable", 400));
    expect(() => send(on("v"), { coding: "gzip" }, [gzipSync(Buffer.alloc(20 * 1024 * 1024))])).toThrow(
      refusal("body_too_large_to_substitute", 413),
    );
    expect(() => send(on("v"), { coding: "gzip" }, [Buffer.alloc(100)], 99)).toThrow(
      refusal("body_too_large_to_substitute", 413),
    );
    expect(send(on("v"), { coding: "identity" }, ["__tok__"]).body.toString()).toBe("v");
  });

  it("refuse a body of known length that is too large to be collected when there is one in it", () => {
    expect(() => send(on("v"), { length: 2000 }, ["a".repeat(1000), "__tok__"], 1000)).toThrow(
      refusal("body_too_large_to_substitute", 413),
    );
    const { body, framing } = send(on("v"), { length: 2000 }, ["a".repeat(1000), "b".repeat(1000)], 1000);
    expect([body.length, framing]).toEqual([2000, "declared"]);
    expect(send(on("v"), {}, ["a".repeat(2000), "__tok__"], 1000).body, "a chunked one streams").toHaveLength(2001);
  });

  it("refuse a value that XML cannot carry, where it is used", () => {
    expect(() => send(on("\u0001"), { type: "text/xml" }, ["__tok__"])).toThrow(refusal("credential_unusable", 502));
    expect(send(on("\u0001"), { type: "text/xml" }, ["<a/>"]).body.toString()).toBe("<a/>");
  });

  it("never leave a JSON string that they stand in", () => {
    const property = fc.property(
      fc.string({ unit: "binary" }),
      fc.array(fc.nat(200), { maxLength: 5 }),
      (value, places) => {
        const body = Buffer.from(JSON.stringify({ a: "<__tok__>", __tok__: 1, b: ["__tok__"] }));
        const { body: sent } = send(on(value), { type: "application/json" }, cut(body, places));
        const plain = Buffer.from(value).toString();
        expect(JSON.parse(sent.toString())).toEqual({ a: `<${plain}>`, [plain]: 1, b: [plain] });
      },
    );
    fc.assert(property, runs);
  });
});

describe("placeholders in a multipart body", () => {
  const type = "multipart/form-data; boundary=b0";

  it("are replaced in its text parts, each by its own type, and in nothing else", () => {
    const body = multipart(
      `${disposition}\r\n\r\nraw __tok__`,
      `${disposition}\r\nContent-Type: application/json\r\n\r\n"__tok__"`,
      `${disposition}; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n__tok__`,
      `${disposition}; filename="b"\r\nContent-Type: image/png\r\n\r\n\x00\x01\r\n-- --b1`,
      "\r\nno head: __tok__",
      `${disposition}\r\n\r\n`,
    );
    const expected = multipart(
      `${disposition}\r\n\r\nraw a"b`,
      `${disposition}\r\nContent-Type: application/json\r\n\r\n"a\\"b"`,
      `${disposition}; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\na"b`,
      `${disposition}; filename="b"\r\nContent-Type: image/png\r\n\r\n\x00\x01\r\n-- --b1`,
      '\r\nno head: a"b',
      `${disposition}\r\n\r\n`,
    );
    const property = fc.property(fc.array(fc.nat(2000), { maxLength: 12 }), (places) => {
      expect(send(on('a"b'), { type }, cut(Buffer.from(body), places)).body.toString()).toBe(expected);
    });
    fc.assert(property, runs);
    expect(
      send(
        on('a"b'),
        { type },
        cut(
          Buffer.from(body),
          Array.from(body, (_, at) => at),
        ),
      ).body.toString(),
    ).toBe(expected);
  });

  it.each([
    { part: `${disposition}; filename="x"\r\n\r\n__tok__`, code: "placeholder_in_binary_part" },
    { part: `${disposition}\r\nContent-Type: image/png\r\n\r\n__tok__`, code: "placeholder_in_binary_part" },
    {
      part: `${disposition}\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n__tok__`,
      code: "placeholder_in_binary_part",
    },
    { part: `${disposition}\r\nContent-Transfer-Encoding: base64\r\n\r\n__tok__`, code: "placeholder_in_binary_part" },
    {
      part: `${disposition}\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n__tok__`,
      code: "placeholder_in_binary_part",
    },
    { part: 'Content-Disposition: form-data; name="__tok__"\r\n\r\nx', code: "placeholder_in_part_head" },
  ])("are refused in the part $part", ({ part, code }) => {
    const body = Buffer.from(multipart(part));
    for (const places of [[], Array.from(body, (_, at) => at)]) {
      expect(() => send(on("v"), { type }, cut(body, places))).toThrow(expect.objectContaining({ code }) as Error);
    }
  });

  it.each([
    { body: "__tok__", because: "there is no part" },
    { body: `--b0\n${disposition}\n\n__tok__\n--b0--\n`, because: "its lines end with LF alone" },
    { body: `${multipart(`${disposition}\r\n\r\nx`)}__tok__`, because: "it stands behind the last part" },
    { body: `--b0x\r\n${disposition}\r\n\r\n__tok__\r\n--b0--`, because: "the delimiter is a longer one" },
    { body: `--b0\r\n${"a: b\r\n".repeat(4000)}\r\n__tok__\r\n--b0--`, because: "the head of the part has no end" },
  ])("are refused when $because", ({ body }) => {
    expect(() => send(on("v"), { type }, [body])).toThrow(refusal("multipart_malformed", 400));
  });

  it("refuse a value that would begin another part", () => {
    const body = multipart(`${disposition}\r\n\r\n__tok__`);
    expect(() => send(on("x\r\n--b0\r\nevil"), { type }, [body])).toThrow(refusal("credential_unusable", 502));
  });

  it("leave any body without them as it is, malformed or not", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "\r\n",
        "--b0",
        "--b0--",
        "\r\n--b0\r\n",
        "\r\n\r\n",
        disposition,
        "Content-Type: image/png",
        "__to",
        "\0",
        "-",
      ),
      fc.string({ maxLength: 6 }),
    );
    const property = fc.property(
      fc.array(piece, { maxLength: 14 }),
      fc.array(fc.nat(300), { maxLength: 6 }),
      (pieces, places) => {
        const body = Buffer.from(pieces.join(""));
        try {
          expect(send(on("v"), { type }, cut(body, places)).body).toEqual(body);
        } catch (error) {
          expect(error).toMatchObject({ code: "multipart_malformed" });
        }
      },
    );
    fc.assert(property, runs);
  });
});
