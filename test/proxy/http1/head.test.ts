import { describe, expect, it } from "vitest";
import { comparableName, Field, fieldTable, NameTable } from "../../../src/proxy/http1/field-names.ts";
import { Fields } from "../../../src/proxy/http1/fields.ts";
import { FramingError } from "../../../src/proxy/http1/framing-error.ts";
import * as codec from "../../../src/proxy/http1/head.ts";
import { HeadReader } from "../../../src/proxy/http1/head-reader.ts";
import { plain, readRequest, readResponse } from "./read-message.ts";

const parseRequestHead = (text: string) => plain(codec.parseRequestHead(Buffer.from(text, "latin1")));
const parseResponseHead = (text: string) => plain(codec.parseResponseHead(Buffer.from(text, "latin1")));

const code = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof FramingError) return `${error.status} ${error.code}`;
    throw error;
  }
  return "accepted";
};

describe("request lines", () => {
  it("keeps method, target, and the order and case of headers, byte for byte", () => {
    const text =
      'PATCH /a%2F../b?q="{}|\\^` HTTP/1.1\r\nhOST: a\r\nX-B:  two  words \t\r\nx-b:\r\nX-A: \u00e9\u00ff\r\n\r\n';
    expect(parseRequestHead(text)).toEqual({
      method: "PATCH",
      target: '/a%2F../b?q="{}|\\^`',
      minor: 1,
      headers: ["hOST", "a", "X-B", "two  words", "x-b", "", "X-A", "\u00e9\u00ff"],
    });
  });

  it.each([
    ["GET  / HTTP/1.1", "400 bad_request_line", "two blanks"],
    ["GET /  HTTP/1.1", "400 bad_version", "two blanks"],
    ["GET\t/ HTTP/1.1", "400 bad_request_line", "a tab"],
    ["GET / HTTP/1.1 ", "400 bad_request_line", "a blank at the end"],
    [" GET / HTTP/1.1", "400 bad_request_line", "a blank at the start"],
    ["\r\n\r\nGET / HTTP/1.1", "400 bad_request_line", "two empty lines before it"],
    ["\nGET / HTTP/1.1", "400 bad_request_line", "a bare LF before it"],
    ["\rGET / HTTP/1.1", "400 bad_request_line", "a bare CR before it"],
    ["GET / b HTTP/1.1", "400 bad_version", "a blank in the target"],
    ["GET HTTP/1.1", "400 bad_request_line", "no target"],
    ["GET", "400 bad_request_line", "a method only"],
    ["", "400 bad_request_line", "nothing"],
    ["GET /", "400 bad_request_line", "HTTP/0.9"],
    ["GET / HTTP/0.9", "505 version_not_supported", "HTTP/0.9"],
    ["GET / HTTP/1.2", "505 version_not_supported", "a version that does not exist"],
    ["GET / HTTP/2.0", "505 version_not_supported", "another protocol"],
    ["PRI * HTTP/2.0", "505 version_not_supported", "the HTTP/2 preface"],
    ["PRI / HTTP/1.1", "505 version_not_supported", "half of the HTTP/2 preface"],
    ["GET / http/1.1", "400 bad_version", "the version in lower case"],
    ["GET / HTTP/1.10", "400 bad_request_line", "two digits"],
    ["GET / HTTP/01.1", "400 bad_version", "two digits"],
    ["GET / HTTP/1,1", "400 bad_version", "a comma"],
    ["GET / HTTPS/1.1", "400 bad_version", "another name"],
    ["GET / FTP/1.1", "400 bad_version", "another name"],
    ["G(T / HTTP/1.1", "400 bad_request_line", "a method that is no token"],
    ["G\u00c9T / HTTP/1.1", "400 bad_request_line", "a method past ASCII"],
    ["GET /#f HTTP/1.1", "400 bad_request_line", "a fragment"],
    ["GET /\u00e9 HTTP/1.1", "400 bad_request_line", "a target past ASCII"],
    ["GET /\x7f HTTP/1.1", "400 bad_request_line", "DEL in the target"],
    ["GET /\0 HTTP/1.1", "400 bad_request_line", "NUL in the target"],
    ["GET /\t HTTP/1.1", "400 bad_request_line", "a tab in the target"],
    ["GET a HTTP/1.1", "400 bad_request_line", "a target that is none of the four forms"],
    ["GET a.test:443 HTTP/1.1", "400 bad_request_line", "an authority without CONNECT"],
    ["CONNECT / HTTP/1.1", "400 bad_request_line", "a path for CONNECT"],
    ["CONNECT u@a.test:443 HTTP/1.1", "400 bad_request_line", "a user for CONNECT"],
    ["CONNECT https://a.test:443 HTTP/1.1", "400 bad_request_line", "a URL for CONNECT"],
    ["CONNECT a.test:443,b.test:443 HTTP/1.1", "400 bad_request_line", "two authorities"],
    ["GET http:///a HTTP/1.1", "400 bad_request_line", "a URL without a host"],
    ["GET http:/a HTTP/1.1", "400 bad_request_line", "a URL without a host"],
    ["GET http://a\\@b/ HTTP/1.1", "400 bad_request_line", "a backslash, which is a slash for some"],
    ["GET ** HTTP/1.1", "400 bad_request_line", "two asterisks"],
    ["GET 1http://a/ HTTP/1.1", "400 bad_request_line", "a scheme that starts with a digit"],
  ])("refuses %j with %s: %s", (line, expected) => {
    expect(code(() => parseRequestHead(`${line}\r\nHost: a\r\n\r\n`))).toBe(expected);
  });

  it.each(["/", "*", "http://a.test", "HTTPS://a.test/", "//a", "/a?b#".slice(0, 4)])(
    "accepts the target %s",
    (target) => {
      expect(parseRequestHead(`GET ${target} HTTP/1.1\r\n\r\n`)).toMatchObject({ target });
    },
  );

  it("refuses a target past its own limit with 414", () => {
    const line = `GET /${"a".repeat(40_000)} HTTP/1.1`;
    expect(code(() => parseRequestHead(`${line}\r\n\r\n`))).toBe("414 target_too_long");
  });

  it("skips one CRLF that an old client left behind its last body", () => {
    expect(parseRequestHead("\r\nGET / HTTP/1.0\r\n\r\n")).toEqual({
      method: "GET",
      target: "/",
      minor: 0,
      headers: [],
    });
  });
});

describe("header lines", () => {
  it.each([
    ["X : y", "bad_header_name", "a blank before the colon hides a header from some"],
    ["X\t: y", "bad_header_name", "a tab before the colon"],
    [": y", "bad_header_name", "an empty name"],
    [" X: y", "folded_header", "obs-fold, or a header hidden from some"],
    ["\tX: y", "folded_header", "obs-fold with a tab"],
    ["X", "bad_header_line", "no colon"],
    ["X(: y", "bad_header_name", "not a token"],
    ["X Y: z", "bad_header_name", "a blank in the name"],
    ["X\u00e9: y", "bad_header_name", "a name past ASCII"],
    ["X\0: y", "bad_header_name", "NUL in the name"],
    ["X\r: y", "bad_header_line", "CR in the name"],
    ["X: a\0b", "bad_header_value", "NUL in the value"],
    ["X: a\x7fb", "bad_header_value", "DEL in the value"],
    ["X: a\x0bb", "bad_header_value", "a vertical tab in the value"],
    ["X: \x0cchunked", "bad_header_value", "a form feed is white space for some"],
    ["X: a\rY: b", "bad_line_end", "a bare CR ends a line for some"],
    ["X: a\nY: b", "bad_line_end", "a bare LF ends a line for most"],
    ["X: a\r\r\nY: b", "bad_line_end", "CR CR LF"],
    ["X: a\r", "bad_line_end", "CR CR LF at the end"],
  ])("refuses %j as %s: %s", (line, expected) => {
    expect(code(() => parseRequestHead(`GET / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`))).toBe(`400 ${expected}`);
    expect(code(() => parseResponseHead(`HTTP/1.1 200 OK\r\n${line}\r\n\r\n`))).toBe(`400 ${expected}`);
  });

  it("refuses a head that goes on after its empty line, or has none", () => {
    expect(code(() => parseRequestHead("GET / HTTP/1.1\r\n\r\nX: y\r\n\r\n"))).toBe("400 bad_header_line");
    expect(code(() => parseRequestHead("GET / HTTP/1.1\r\nX: y\r\n"))).toBe("400 bad_head");
    expect(code(() => parseRequestHead("GET / HTTP/1.1\r\nX: y"))).toBe("400 bad_header_value");
  });

  it("never repeats what was sent in a message", () => {
    for (const line of [
      "Authorization: sk_live_1\0",
      "sk_live_1\0: x",
      "Content-Length: sk_live_1",
      "Host: sk_live_1@a",
    ]) {
      const text = `POST /sk_live_1\0 HTTP/1.1\r\n${line}\r\n\r\n`;
      for (const head of [text, text.replace("\0", "")]) {
        try {
          parseRequestHead(head);
        } catch (error) {
          expect(String(error)).not.toContain("sk_live_1");
        }
      }
    }
  });
});

describe("status lines", () => {
  it.each([
    ["HTTP/1.1 200 OK", 200, "OK"],
    ["HTTP/1.1 200 ", 200, ""],
    ["HTTP/1.1 200", 200, ""],
    ["HTTP/1.0 404 Not  Found ", 404, "Not  Found "],
    ["HTTP/1.1 500 D\u00e9j\u00e0 vu", 500, "D\u00e9j\u00e0 vu"],
    ["HTTP/1.1 999 Request denied", 999, "Request denied"],
  ])("reads %j", (line, status, reason) => {
    expect(parseResponseHead(`${line}\r\n\r\n`)).toMatchObject({ status, reason });
  });

  it.each([
    ["HTTP/1.1 099 Low", "400 bad_status_line"],
    ["HTTP/1.1 000 Low", "400 bad_status_line"],
    ["HTTP/1.1 20 Short", "400 bad_status_line"],
    ["HTTP/1.1 2000 Long", "400 bad_status_line"],
    ["HTTP/1.1 2x0 Odd", "400 bad_status_line"],
    ["HTTP/1.1 +20 Odd", "400 bad_status_line"],
    ["HTTP/1.1  200 OK", "400 bad_status_line"],
    ["HTTP/1.1\t200 OK", "400 bad_status_line"],
    ["HTTP/1.1 200\tOK", "400 bad_status_line"],
    ["HTTP/1.1", "400 bad_status_line"],
    ["HTTP/1.1 200 a\0", "400 bad_status_line"],
    ["HTTP/1.1 200 a\rb", "400 bad_status_line"],
    ["HTTP/1.1 200 a\nb", "400 bad_status_line"],
    ["HTTP/2.0 200 OK", "505 version_not_supported"],
    ["HTTP/2 200 OK", "400 bad_version"],
    ["ICY 200 OK", "400 bad_version"],
    [" HTTP/1.1 200 OK", "400 bad_version"],
    ["\r\nHTTP/1.1 200 OK", "400 bad_version"],
    ["", "400 bad_version"],
  ])("refuses %j with %s", (line, expected) => {
    expect(code(() => parseResponseHead(`${line}\r\n\r\n`))).toBe(expected);
  });
});

describe("Host", () => {
  it.each([
    ["", "host_missing"],
    ["Host: a\r\nHost: a\r\n", "host_repeated"],
    ["Host: a\r\nhost: b\r\n", "host_repeated"],
    ["Host: a, b\r\n", "bad_host"],
    ["Host: a b\r\n", "bad_host"],
    ["Host: u@a\r\n", "bad_host"],
    ["Host: a/b\r\n", "bad_host"],
    ["Host: a\\b\r\n", "bad_host"],
    ["Host: a?b\r\n", "bad_host"],
    ["Host: \u00e9\r\n", "bad_host"],
  ])("refuses an HTTP/1.1 request with %j", (lines, expected) => {
    expect(readRequest(`GET / HTTP/1.1\r\n${lines}\r\n`)).toEqual({ kind: "refused", code: expected, status: 400 });
  });

  it.each(["Host: a\r\n", "Host: a:8443\r\n", "Host: [::1]:80\r\n", "Host:\r\n"])("accepts %j", (lines) => {
    expect(readRequest(`GET / HTTP/1.1\r\n${lines}\r\n`).kind).toBe("message");
  });

  it("is optional in HTTP/1.0, and not asked of CONNECT", () => {
    expect(readRequest("GET / HTTP/1.0\r\n\r\n").kind).toBe("message");
    expect(readRequest("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").kind).toBe("refused");
    expect(readRequest("CONNECT a:443 HTTP/1.1\r\n\r\n").kind).toBe("message");
  });
});

describe("HeadReader", () => {
  const limits = { maxBytes: 100, maxHeaders: 3 };
  const push = (...chunks: readonly string[]) => {
    const reader = new HeadReader(limits);
    return chunks.map((chunk) => reader.push(Buffer.from(chunk, "latin1"))).at(-1);
  };
  const exactly = (bytes: number) => `GET / HTTP/1.1\r\nX: ${"y".repeat(bytes - 23)}\r\n\r\n`;

  it("counts the bytes of the last chunk that belong to the head", () => {
    expect(push("GET / HTTP/1.1\r\n\r\nbody")).toBe(18);
    expect(push("GET / HTTP/1.1\r\n", "\r\nbody")).toBe(2);
    expect(push("GET / HTTP/1.1\r", "\n\r\nGET / HTTP/1.1\r\n\r\n")).toBe(3);
    expect(push("GET / HTTP/1.1\r\n\r")).toBe(-1);
  });

  it.each([
    { chunks: [exactly(100)], expected: "accepted", because: "exactly the limit" },
    { chunks: [exactly(101)], expected: "431 head_too_large", because: "one byte more" },
    {
      chunks: [exactly(101).slice(0, 60), exactly(101).slice(60)],
      expected: "431 head_too_large",
      because: "in two parts",
    },
    { chunks: [exactly(500).slice(0, 101)], expected: "431 head_too_large", because: "no end in sight" },
    { chunks: ["GET /", "a".repeat(96)], expected: "414 target_too_long", because: "no line end in sight" },
    {
      chunks: [`GET /${"a".repeat(200)} HTTP/1.1\r\n\r\n`],
      expected: "414 target_too_long",
      because: "a long first line",
    },
    { chunks: ["GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n"], expected: "accepted", because: "three headers" },
    {
      chunks: ["GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n"],
      expected: "431 too_many_headers",
      because: "four headers",
    },
    {
      chunks: ["GET / HTTP/1.1\nHost: a\n\n"],
      expected: "400 bad_line_end",
      because: "bare LF never completes a head",
    },
    { chunks: ["GET / HTTP/1.1\r\nHost: a\r", "X: y"], expected: "400 bad_line_end", because: "bare CR over a border" },
    { chunks: ["GET / HTTP/1.1\r\n", "\nHost: a"], expected: "400 bad_line_end", because: "bare LF over a border" },
  ])("$expected: $because", ({ chunks, expected }) => {
    expect(code(() => push(...chunks))).toBe(expected);
  });

  it("says whether a part of a head has arrived, leaving aside one CRLF", () => {
    const reader = new HeadReader(limits);
    expect(reader.started).toBe(false);
    for (const chunk of ["\r", "\n"]) {
      reader.push(Buffer.from(chunk));
      expect(reader.started).toBe(false);
    }
    reader.push(Buffer.from("G"));
    expect(reader.started).toBe(true);
    reader.reset();
    expect(reader.started).toBe(false);
    expect(reader.push(Buffer.from("\r\nGET / HTTP/1.1\r\n\r\n"))).toBe(20);
  });
});

describe("Fields", () => {
  const parse = (...lines: readonly string[]) => {
    const bytes = Buffer.from(`${lines.map((line) => `${line}\r\n`).join("")}\r\n`, "latin1");
    const fields = new Fields();
    fields.parse(bytes, 0, bytes.length);
    return fields;
  };

  it("finds names in any case, and knows those that only look like them", () => {
    const fields = parse("Connection: Upgrade", "Content_Length: 1", "CONNECTION:  keep-alive ,, close ", "hOST:a");
    expect(fields.valueOf(Field.connection)).toBe("Upgrade");
    expect(fields.isRepeated(Field.connection)).toBe(true);
    expect(fields.valueOf(Field.host)).toBe("a");
    expect(fields.isRepeated(Field.host)).toBe(false);
    expect(fields.has(Field.contentLength)).toBe(false);
    expect(fields.idAt(1)).toBe(Field.contentLength);
    expect(fields.isUsualAt(1)).toBe(false);
    expect([0, 1, 2, 3].map((line) => fields.isPlainAt(line))).toEqual([true, true, false, false]);
  });

  it("reads lists over several lines", () => {
    const fields = parse("Connection: Upgrade", "X: close", "connection: keep-alive ,, Close");
    expect(fields.hasToken(Field.connection, "upgrade")).toBe(true);
    expect(fields.hasToken(Field.connection, "close")).toBe(true);
    expect(fields.hasToken(Field.connection, "keep")).toBe(false);
    expect(fields.hasToken(Field.te, "close")).toBe(false);
  });

  it("remembers nothing of the message before", () => {
    const fields = parse("Host: a", "Host: b", "Connection: close");
    const bytes = Buffer.from("X: y\r\n\r\n");
    fields.parse(bytes, 0, bytes.length);
    expect(fields.list()).toEqual(["X", "y"]);
    expect(fields.has(Field.host) || fields.isRepeated(Field.host) || fields.has(Field.connection)).toBe(false);
  });

  it("holds more lines than it started with room for", () => {
    const lines = Array.from({ length: 300 }, (_, i) => `X-${i}: ${i}`);
    expect(parse(...lines).list()).toEqual(lines.flatMap((line) => line.split(": ")));
  });
});

describe("names", () => {
  it.each(["X-Api-Key", "x_api_key", "X.API.KEY", "x~api|key"])("%s is compared as x-api-key", (name) => {
    expect(comparableName(name)).toBe("x-api-key");
    expect(fieldTable.findName(name)).toBe(Field.xApiKey);
  });

  it("a table tells apart names whose hashes are equal", () => {
    const [one, other] = collidingNames();
    const table = new NameTable([[one, 1]]);
    const find = (name: string) => {
      const fields = new Fields();
      const bytes = Buffer.from(`${name}: x\r\n\r\n`);
      fields.parse(bytes, 0, bytes.length);
      return table.find(fields.hashAt(0), bytes, 0, name.length);
    };
    expect(find(one)).toBe(1);
    expect(find(other)).toBe(0);
  });
});

/** Two names with the same hash: 2^16 random ones are enough to expect a pair. */
function collidingNames(): [string, string] {
  const byHash = new Map<number, string>();
  const fields = new Fields();
  for (let i = 0; ; i += 1) {
    const name = `x${i.toString(36)}`;
    const bytes = Buffer.from(`${name}: x\r\n\r\n`);
    fields.parse(bytes, 0, bytes.length);
    const hash = fields.hashAt(0);
    const known = byHash.get(hash);
    if (known !== undefined) return [known, name];
    byHash.set(hash, name);
  }
}

it("reads a response from a peer that says everything at once", () => {
  const verdict = readResponse("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 500");
  expect(verdict).toMatchObject({ message: { head: { status: 200 }, end: 40 } });
});
