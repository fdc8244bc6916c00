import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Llhttp, type LlhttpVerdict } from "../../support/llhttp.ts";
import { readRequest, readResponse } from "./read-message.ts";
import { requestSeeds, responseSeeds } from "./smuggling-seeds.ts";

/**
 * What we accept, llhttp reads the same way: method, target, headers, body, and where the next message starts.
 * The other direction is not asked for: refusing more than llhttp does is the point.
 */

const llhttp = new Llhttp();

/** RFC 9110 allows a tab around any value; llhttp refuses it behind these, which is stricter and no other reading. */
const tabBehindFraming = /^(?:HPE_INVALID_TRANSFER_ENCODING|HPE_INVALID_CONTENT_LENGTH)$/;

/** llhttp knows a list of methods, ours may be any token. */
const unknownMethod = "HPE_INVALID_METHOD";

function isTabBehindFraming(theirs: LlhttpVerdict, input: Buffer): boolean {
  return theirs.kind === "error" && tabBehindFraming.test(theirs.code) && /\t[ \t]*\r\n/.test(input.toString("latin1"));
}

function expectSameRequest(input: Buffer): boolean {
  const ours = readRequest(input);
  if (ours.kind !== "message") return false;
  const theirs = llhttp.read("request", input);
  if (theirs.kind === "error" && theirs.code === unknownMethod) return false;
  if (isTabBehindFraming(theirs, input)) return false;
  if (theirs.kind !== "message")
    throw new Error(`llhttp: ${JSON.stringify(theirs)} on ${JSON.stringify(input.toString("latin1"))}`);
  const { head, body, trailers, end } = ours.message;
  const { message } = theirs;
  expect({ method: message.method, target: message.url, minor: message.minor }).toEqual({
    method: head.method,
    target: head.target,
    minor: head.minor,
  });
  expect(message.headers).toEqual(head.headers);
  expect(message.body.equals(body)).toBe(true);
  expect(message.end).toBe(end);
  expect(trailers.every((part) => message.trailers.includes(part))).toBe(true);
  return true;
}

function expectSameResponse(method: string, input: Buffer): boolean {
  const ours = readResponse(method, input);
  if (ours.kind !== "message") return false;
  const theirs = llhttp.read("response", input, method === "HEAD");
  if (isTabBehindFraming(theirs, input)) return false;
  if (theirs.kind !== "message")
    throw new Error(`llhttp: ${JSON.stringify(theirs)} on ${JSON.stringify(input.toString("latin1"))}`);
  const { head, body, framing, end } = ours.message;
  const { message } = theirs;
  expect({ status: message.status, reason: message.reason, minor: message.minor }).toEqual({
    status: head.status,
    reason: head.reason,
    minor: head.minor,
  });
  expect(message.headers).toEqual(head.headers);
  expect(message.body.equals(body)).toBe(true);
  expect(message.end).toBe(end);
  expect(message.delimited).toBe(framing.kind !== "close");
  return true;
}

const oneOf = fc.constantFrom;
const method = oneOf("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "get", "PRI", "CONNECT");
const target = oneOf(
  "/",
  "/a?b=c",
  "*",
  "http://a.test/",
  "a.test:443",
  "/a b",
  "/\u00e9",
  "/#x",
  "",
  "//",
  "/\\",
  "x",
);
const version = oneOf("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ");
const eol = fc.oneof(
  { weight: 30, arbitrary: fc.constant("\r\n") },
  { weight: 1, arbitrary: oneOf("\n", "\r", "\r\r\n", "\n\r\n") },
);
const name = oneOf(
  "Content-Length",
  "Transfer-Encoding",
  "Host",
  "X",
  "content-length",
  "Connection",
  "Content-Length ",
  "X\0",
  "",
  "Upgrade",
);
const value = oneOf(
  "5",
  "0",
  "3",
  "chunked",
  "Chunked",
  "a.test",
  "",
  "gzip, chunked",
  "+5",
  "5, 5",
  "0x5",
  "a\tb",
  "\u00e9",
  "\0",
  "close",
  "keep-alive",
  "upgrade",
  "websocket",
  " padded \t",
  "05",
  "18446744073709551617",
);
const line = fc.tuple(name, oneOf(":", ": ", ":\t", " :"), value, eol).map((parts) => parts.join(""));
const goodLine = oneOf(
  "Host: a.test\r\n",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "X: y\r\n",
  "Connection: close\r\n",
);
const lines = fc
  .array(fc.oneof({ weight: 3, arbitrary: goodLine }, { weight: 1, arbitrary: line }), { maxLength: 4 })
  .map((all) => all.join(""));
const chunk = oneOf(
  "5\r\nhello\r\n",
  "0\r\n\r\n",
  "0\r\nX: y\r\n\r\n",
  "5;a=b\r\nhello\r\n",
  '1;a="\\""\r\nx\r\n',
  "0005\r\nhello\r\n",
  "5 \r\nhello\r\n",
  "F\r\n",
  "-1\r\n",
  "5\nhello\n",
  "0x1\r\nx\r\n",
  "2\r\nhello\r\n",
  "0;ext\r\n\r\n",
  "0\r\nHost: x\r\n\r\n",
  "GET / HTTP/1.1\r\n",
);
const body = fc.oneof(
  oneOf("hello", "", "helloGET / HTTP/1.1\r\n\r\n", "\r\n"),
  fc.array(chunk, { maxLength: 4 }).map((all) => all.join("")),
);
const request = fc
  .tuple(
    oneOf("", "", "", "\r\n", "\n", " "),
    method,
    oneOf(" ", " ", " ", "  ", "\t"),
    target,
    version,
    eol,
    lines,
    eol,
    body,
  )
  .map(([lead, m, blank, t, v, e, ls, e2, b]) =>
    Buffer.from(`${lead}${m}${blank}${t} ${v}${e}${ls}${e2}${b}`, "latin1"),
  );
const response = fc
  .tuple(
    version,
    oneOf("200", "204", "304", "100", "101", "404", "999", "99", "1000", "20x"),
    oneOf(" OK", "", " ", " d\u00e9j\u00e0", "  two", "\tX", " a\0"),
    eol,
    lines,
    eol,
    body,
  )
  .map(([v, s, r, e, ls, e2, b]) => Buffer.from(`${v} ${s}${r}${e}${ls}${e2}${b}`, "latin1"));

/** One small damage to a message that is mostly right: the neighbourhood where parsers disagree. */
function damaged(seeds: readonly string[]) {
  const byte = fc.oneof(oneOf(0, 9, 10, 11, 13, 32, 35, 44, 48, 58, 59, 61, 127, 128, 160, 255), fc.nat(255));
  const edit = fc.record({ at: fc.nat(400), remove: fc.nat(3), insert: fc.array(byte, { maxLength: 3 }) });
  return fc.tuple(oneOf(...seeds), fc.array(edit, { maxLength: 2 })).map(([seed, edits]) => {
    let bytes = [...Buffer.from(seed, "latin1")];
    for (const { at, remove, insert } of edits) {
      const position = at % (bytes.length + 1);
      bytes = [...bytes.slice(0, position), ...insert, ...bytes.slice(position + remove)];
    }
    return Buffer.from(bytes);
  });
}

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 3000) };

describe("what we accept, llhttp reads the same way", () => {
  it.each([...requestSeeds])("request seed %j", (seed) => {
    expectSameRequest(Buffer.from(seed, "latin1"));
  });

  it.each([...responseSeeds])("response seed %j", (seed) => {
    expectSameResponse("GET", Buffer.from(seed, "latin1"));
    expectSameResponse("HEAD", Buffer.from(seed, "latin1"));
  });

  it("reads requests put together from good and bad parts as llhttp does", () => {
    let accepted = 0;
    fc.assert(
      fc.property(request, (input) => {
        accepted += Number(expectSameRequest(input));
      }),
      runs,
    );
    expect(accepted).toBeGreaterThan(runs.numRuns / 400);
  });

  it("reads damaged requests as llhttp does", () => {
    let accepted = 0;
    fc.assert(
      fc.property(damaged(requestSeeds), (input) => {
        accepted += Number(expectSameRequest(input));
      }),
      runs,
    );
    expect(accepted).toBeGreaterThan(runs.numRuns / 400);
  });

  it("reads responses put together from good and bad parts as llhttp does", () => {
    let accepted = 0;
    const property = fc.property(oneOf("GET", "HEAD"), response, (m, input) => {
      accepted += Number(expectSameResponse(m, input));
    });
    fc.assert(property, runs);
    expect(accepted).toBeGreaterThan(runs.numRuns / 400);
  });

  it("reads damaged responses as llhttp does", () => {
    let accepted = 0;
    fc.assert(
      fc.property(damaged(responseSeeds), (input) => {
        accepted += Number(expectSameResponse("GET", input));
      }),
      runs,
    );
    expect(accepted).toBeGreaterThan(runs.numRuns / 400);
  });
});
