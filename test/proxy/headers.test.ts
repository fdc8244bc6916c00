import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { InjectedHeader } from "../../src/domain/vaults/snapshot.ts";
import {
  type AnswerOptions,
  type RequestOptions,
  RequestRules,
  sniffAuthentication,
  writeAnswerHead,
  writeRequestHead,
} from "../../src/proxy/headers.ts";
import { parseRequestHead, parseResponseHead } from "../../src/proxy/http1/head.ts";
import { UnwritableHead } from "../../src/proxy/http1/serialize.ts";
import type { Outbox } from "../../src/proxy/outbox.ts";
import { Outboxes } from "../../src/proxy/outboxes.ts";

/** What is written to an outbox, as latin1. */
function written(write: (out: Outbox) => void): string {
  const parts: Buffer[] = [];
  const socket = { writable: true, writableLength: 0, write: (part: Buffer) => parts.push(part) };
  const out = new Outboxes().for(socket as unknown as Socket);
  write(out);
  out.flush();
  return Buffer.concat(parts).toString("latin1");
}

function lines(headers: readonly string[]): string {
  return headers.map((part, i) => (i % 2 === 0 ? `${part}: ` : `${part}\r\n`)).join("");
}

interface Sent extends Partial<RequestOptions> {
  readonly injected?: readonly InjectedHeader[];
  readonly stripped?: ReadonlySet<string>;
  readonly narrowsCodings?: boolean;
}

/** The head that goes upstream when this one arrives. */
function forwarded(head: string, { injected = [], stripped, narrowsCodings = false, ...more }: Sent = {}): string {
  const read = parseRequestHead(Buffer.from(head, "latin1"));
  const rules = new RequestRules(injected, stripped, { narrowsCodings });
  const options = { target: read.target, host: "a.test", rules, isChunked: false, upgrades: false, ...more };
  return written((out) => writeRequestHead(out, read, options));
}

const outgoing = (headers: readonly string[], more: Sent = {}) =>
  parseRequestHead(Buffer.from(forwarded(`GET / HTTP/1.1\r\n${lines(headers)}\r\n`, more), "latin1")).headers;

function answered(head: string, options: AnswerOptions): string {
  const read = parseResponseHead(Buffer.from(head, "latin1"));
  return written((out) => writeAnswerHead(out, read, options));
}

const answerHeaders = (headers: readonly string[], options: AnswerOptions) =>
  parseResponseHead(Buffer.from(answered(`HTTP/1.1 200 OK\r\n${lines(headers)}\r\n`, options), "latin1")).headers;

describe("headers on their way upstream", () => {
  it.each([
    {
      sent: ["host", "x", "X-A", "1", "x-a", "2"],
      arrive: ["host", "a.test", "X-A", "1", "x-a", "2"],
      because: "order, case and repetition stay",
    },
    { sent: ["X-A", "1"], arrive: ["Host", "a.test", "X-A", "1"], because: "HTTP/1.0 may lack a Host" },
    {
      sent: ["Host", "x", "Connection", "X-A, close", "X-A", "s"],
      arrive: ["Host", "a.test"],
      because: "nominated headers are for us",
    },
    {
      sent: ["Host", "x", "Connection", "x_a", "X-A", "s"],
      arrive: ["Host", "a.test"],
      because: "an underscore is a hyphen to many",
    },
    {
      sent: ["Host", "x", "Connection", "Content-Length, Host", "Content-Length", "3"],
      arrive: ["Host", "a.test", "Content-Length", "3"],
      because: "framing cannot be nominated away",
    },
    {
      sent: ["Host", "x", "Content_Length", "3", "Transfer_Encoding", "chunked"],
      arrive: ["Host", "a.test"],
      because: "a hidden framing smuggles",
    },
    {
      sent: ["Host", "x", "Proxy-Authorization", "t", "proxy_authorization", "t", "X-Vault", "v", "X_Vault", "v"],
      arrive: ["Host", "a.test"],
      because: "these are between agent and broker",
    },
    {
      sent: [
        "Host",
        "x",
        "Upgrade",
        "h2c",
        "TE",
        "gzip;q=0.5, x-trailers",
        "Keep-Alive",
        "1",
        "Proxy-Connection",
        "k",
        "Trailer",
        "X",
      ],
      arrive: ["Host", "a.test"],
      because: "they are hop-by-hop",
    },
    {
      sent: ["Host", "x", "te", "gzip, Trailers", "TE", "trailers", "Connection", "TE"],
      arrive: ["Host", "a.test", "TE", "trailers", "Connection", "TE"],
      because: "trailers are relayed, codings of this hop are not (RFC 9110, section 10.1.4)",
    },
    {
      sent: ["Host", "x", "X-Forwarded-For", "1", "Cookie", "c", "Via", "v"],
      arrive: ["Host", "a.test", "X-Forwarded-For", "1", "Cookie", "c", "Via", "v"],
      because: "the rest is not ours to change",
    },
  ])("$sent: $because", ({ sent, arrive }) => {
    expect(outgoing(sent)).toEqual(arrive);
  });

  it.each([
    { asked: "br, x-own", arrives: "br", because: "the other could not be looked into" },
    { asked: "gzip, deflate, br, zstd", arrives: "gzip, deflate, br, zstd", because: "all of them can" },
    { asked: "GZIP;q=0.5", arrives: "GZIP;q=0.5", because: "case does not matter" },
    { asked: "dcz", arrives: "identity", because: "nothing else is left" },
  ])("ask for $arrives instead of $asked where answers are scrubbed: $because", ({ asked, arrives }) => {
    const sent = ["Host", "a.test", "Accept", "*/*", "accept-encoding", asked, "X-B", "b"];
    const arrived = sent.map((part) => (part === asked ? arrives : part));
    expect(outgoing(sent, { narrowsCodings: true })).toEqual(arrived);
    expect(outgoing(sent)).toEqual(sent);
  });

  it("name both in Connection when an upgrade comes from an agent that takes trailers", () => {
    expect(outgoing(["Host", "x", "TE", "trailers"], { upgrades: true })).toEqual([
      "Host",
      "a.test",
      "TE",
      "trailers",
      "Upgrade",
      "websocket",
      "Connection",
      "Upgrade, TE",
    ]);
    expect(outgoing(["Host", "x", "TE", "trailers"], { stripped: new Set(["te"]) })).toEqual(["Host", "a.test"]);
  });

  it("hold an injected header once, in the place of the agent's, also when it was nominated in Connection", () => {
    const injected = [{ name: "X-Api-Key", value: "real" }];
    const sent = ["Host", "x", "Connection", "x-api-key", "x_api_key", "1", "X-B", "b", "X-API-KEY", "2"];
    expect(outgoing(sent, { injected })).toEqual(["Host", "a.test", "X-Api-Key", "real", "X-B", "b"]);
    expect(outgoing(["Host", "x"], { injected })).toEqual(["Host", "a.test", "X-Api-Key", "real"]);
  });

  it.each(["X_Api_Key", "X.Api.Key", "x~api|key", "X-Api_Key"])(
    "hold one value for a credential, however %s spells its name",
    (name) => {
      const injected = [{ name: "X-Api-Key", value: "secret" }];
      expect(outgoing([name, "forged"], { injected })).toEqual(["Host", "a.test", "X-Api-Key", "secret"]);
    },
  );

  it.each(["Content_Length", "Content.Length", "Transfer.Encoding"])("do not hold %s", (name) => {
    expect(outgoing([name, "chunked"], { isChunked: false })).toEqual(["Host", "a.test"]);
  });

  it("cannot be framed or routed by an injected header", () => {
    const injected = ["Host", "Content-Length", "Transfer-Encoding", "Trailer"].map((name) => ({ name, value: "9" }));
    expect(outgoing(["Host", "x", "Content-Length", "3"], { injected })).toEqual([
      "Host",
      "a.test",
      "Content-Length",
      "3",
    ]);
  });
});

describe("a head on its way upstream", () => {
  it("is the one that arrived, to the byte, where nothing is to be changed", () => {
    const head = "POST /a?b HTTP/1.1\r\nHost: a.test\r\nx-Y:  \u00e9 \t\r\nContent-Length: 0\r\nX:\r\n\r\n";
    const spaced = "POST /a?b HTTP/1.1\r\nHost: a.test\r\nx-Y: \u00e9\r\nContent-Length: 0\r\nX: \r\n\r\n";
    expect(forwarded(head)).toBe(spaced);
    expect(forwarded(spaced)).toBe(spaced);
  });

  it("has the target that it is given, in HTTP/1.1, and a Host first where there was none", () => {
    expect(forwarded("GET http://a.test/x HTTP/1.0\r\nA: b\r\n\r\n", { target: "/x" })).toBe(
      "GET /x HTTP/1.1\r\nHost: a.test\r\nA: b\r\n\r\n",
    );
    expect(forwarded("GET / HTTP/1.0\r\n\r\n")).toBe("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect(forwarded("\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n")).toBe("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  });

  it("keeps Transfer-Encoding where it stands, once", () => {
    const head = "POST / HTTP/1.1\r\nHost: a.test\r\ntransfer-encoding: Chunked\r\nA: b\r\n\r\n";
    expect(forwarded(head, { isChunked: true })).toBe(head);
  });

  it.each(["", "/ HTTP/1.1\r\nX:", "/\r\nX: y", "/\u00e9", "/#"])("is not written with the target %j", (target) => {
    expect(() => forwarded("GET / HTTP/1.1\r\n\r\n", { target })).toThrow(UnwritableHead);
  });

  it.each([
    ["X\r\nY", "sk_live_1"],
    ["", "sk_live_1"],
    ["X:", "sk_live_1"],
    ["X", "sk_live_1\r\nY: z"],
    ["X", "sk_live_1\n"],
    ["X", "sk_live_1\0"],
    ["X", "sk_live_1\u010d\u010a"],
  ])("is not written with the credential header %j: %j", (name, value) => {
    const write = () => forwarded("GET / HTTP/1.1\r\n\r\n", { injected: [{ name, value }] });
    expect(write).toThrow(UnwritableHead);
    expect(write).not.toThrow("sk_live_1");
  });
});

describe("headers on their way back", () => {
  it.each([
    ["HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "nothing changes"],
    ["HTTP/1.0 404 N\u00f6  \r\n\r\n", "HTTP/1.1 404 N\u00f6  \r\n\r\n", "the version is ours, the reason is not"],
    ["HTTP/1.1 204\r\n\r\n", "HTTP/1.1 204 \r\n\r\n", "the blank that the grammar wants"],
    ["HTTP/1.1 200 OK\r\nA:b\r\nC:\td \r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n", "one blank each"],
  ])("%j becomes %j: %s", (head, expected) => {
    const options = { stripsCookies: false, isChunked: false, dropsLength: false, connection: undefined };
    expect(answered(head, options)).toBe(expected);
  });

  const rules = { stripsCookies: false, isChunked: false, dropsLength: false, connection: undefined } as const;

  it("lose what is hop-by-hop, nominated, or would speak for the broker or lead past it", () => {
    const sent = [
      "Connection",
      "x-hop",
      "X-Hop",
      "1",
      "Alt-Svc",
      "h3",
      "X-Agent-Vault-Proxy-Error",
      "true",
      "X_Agent_Vault_Error_Code",
      "c",
      "Set-Cookie",
      "s",
      "ETag",
      "e",
    ];
    expect(answerHeaders(sent, rules)).toEqual(["Set-Cookie", "s", "ETag", "e"]);
    expect(answerHeaders(sent, { ...rules, stripsCookies: true })).toEqual(["ETag", "e"]);
  });
});

describe("how an agent authenticates by itself", () => {
  it.each([
    [["authorization", "bearer x"], "bearer", "Authorization"],
    [["Authorization", "Basic x"], "basic", "Authorization"],
    [["Authorization", "token x"], "api-key", "Authorization"],
    [["Api-Key", "x", "X-Api-Key", "y"], "api-key", "X-Api-Key"],
    [["Accept", "x"], "", ""],
  ])("%j is %s in %s", (headers, scheme, header) => {
    const read = parseRequestHead(Buffer.from(`GET / HTTP/1.1\r\n${lines(headers)}\r\n`, "latin1"));
    expect(sniffAuthentication(read.fields)).toEqual({ scheme, header });
  });
});
