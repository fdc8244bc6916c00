import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bearerService, hosts, type Stage, secret, setStage } from "./support/stage.ts";

/** The ways in which an upstream writes what it was sent; none of them may bring the credential to the agent. */
const spellings: Readonly<Record<string, (text: string) => string>> = {
  "as it is": (text) => text,
  base64: (text) => Buffer.from(text).toString("base64"),
  "base64, behind one byte": (text) => Buffer.from(`:${text}`).toString("base64"),
  "base64, behind two bytes": (text) => Buffer.from(`::${text}`).toString("base64"),
  base64url: (text) => Buffer.from(text).toString("base64url"),
  hexadecimal: (text) => Buffer.from(text).toString("hex"),
  "hexadecimal in capitals": (text) => Buffer.from(text).toString("hex").toUpperCase(),
  "percent-encoded, wholly": (text) => [...text].map((c) => `%${c.charCodeAt(0).toString(16)}`).join(""),
  "percent-encoded twice": (text) => [...text].map((c) => `%25${c.charCodeAt(0).toString(16)}`).join(""),
  "escaped for JSON": (text) => [...text].map((c) => `\\u00${c.charCodeAt(0).toString(16)}`).join(""),
  "escaped for HTML": (text) => [...text].map((c) => `&#${c.charCodeAt(0)};`).join(""),
  "escaped in one place": (text) => text.replace("_", "%5F"),
};

/** Any of these in the agent's hands is the credential in the agent's hands. */
function holdsSecret(text: string): boolean {
  const bytes = [
    text,
    text.replaceAll(/\\u00([0-9a-f]{2})/gi, "%$1").replaceAll(/&#(\d+);/g, (_, n) => `%${Number(n).toString(16)}`),
  ];
  const undone = bytes.flatMap((one) => [one, unescaped(one), unescaped(unescaped(one))]);
  const runs = undone.flatMap((one) => one.match(/[A-Za-z0-9+/_-]{16,}/g) ?? []);
  const decoded = runs.flatMap((run) =>
    [0, 1, 2, 3].map((skip) => Buffer.from(run.slice(skip), "base64").toString("latin1")),
  );
  const hex = runs.map((run) => Buffer.from(run, "hex").toString("latin1"));
  return [...undone, ...decoded, ...hex].some((one) => one.includes(secret));
}

const unescaped = (text: string): string =>
  text.replaceAll(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));

/** One text message of a server, in a single frame and again in fragments of three bytes. */
function textFrames(text: string): string {
  const frame = (head: number, payload: string) =>
    payload.length < 126
      ? String.fromCharCode(head, payload.length) + payload
      : String.fromCharCode(head, 126, payload.length >> 8, payload.length & 0xff) + payload;
  const pieces = text.match(/[\s\S]{1,3}/g) ?? [];
  const fragments = pieces.map((piece, at) => frame((at === pieces.length - 1 ? 0x80 : 0) | (at === 0 ? 1 : 0), piece));
  return frame(0x81, text) + fragments.join("");
}

/** The payloads of the frames behind a head, joined as a client joins them. */
function payloadsIn(heard: string): string {
  let joined = "";
  for (let at = heard.indexOf("\r\n\r\n") + 4; at + 1 < heard.length; ) {
    const short = heard.charCodeAt(at + 1);
    const length = short < 126 ? short : heard.charCodeAt(at + 2) * 256 + heard.charCodeAt(at + 3);
    const start = at + (short < 126 ? 2 : 4);
    joined += heard.slice(start, start + length);
    at = start + length;
  }
  return joined;
}

type Container = (text: string) => string;
const fixed = (headers: string, body: string, status = "200 OK"): string =>
  `HTTP/1.1 ${status}\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
const packed =
  (coding: string, pack: (text: string) => Buffer): Container =>
  (text) =>
    fixed(`Content-Encoding: ${coding}\r\n`, pack(text).toString("latin1"));
const chunked = (parts: readonly string[], headers = "", end = ""): string =>
  `HTTP/1.1 200 OK\r\n${headers}Transfer-Encoding: chunked\r\n\r\n${parts
    .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
    .join("")}0\r\n${end}\r\n`;

const containers: Readonly<Record<string, Container>> = {
  "a body": (text) => fixed("Content-Type: application/json\r\n", `{"token":"${text}"}`),
  "an error body": (text) => fixed("", `invalid token ${text}`, "401 Unauthorized"),
  "a header": (text) => fixed(`X-Echo: Bearer ${text}\r\n`, "ok"),
  "a redirect": (text) => fixed(`Location: https://${hosts.api}/?key=${text}\r\n`, "", "302 Found"),
  "a reason": (text) => fixed("", "ok", `200 ${text.replaceAll("\\", "%5c")}`),
  "a challenge": (text) => fixed(`WWW-Authenticate: Bearer realm="${text}"\r\n`, "", "401 Unauthorized"),
  "an interim answer": (text) => `HTTP/1.1 103 Early\r\nLink: <${text}>\r\n\r\n${fixed("", "ok")}`,
  gzip: packed("gzip", gzipSync),
  deflate: packed("deflate", deflateSync),
  br: packed("br", brotliCompressSync),
  "gzip in br": packed("gzip, br", (text) => brotliCompressSync(gzipSync(text))),
  "chunks of one byte": (text) => chunked([...`{"token":"${text}"}`]),
  "a feed of events": (text) => chunked([`data: 1\n\n`, `data: ${text}\n\n`], "Content-Type: text/event-stream\r\n"),
  "a trailer": (text) => chunked(["ok"], "Trailer: X-Sum\r\n", `X-Sum: ${text}\r\n`),
  "a body without an end": (text) => `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${text}`,
};

describe("an upstream that returns the credential", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  const ask = async (text: string) => {
    stage.secure.script = (connection) => {
      connection.send(text);
      if (/^Connection: close/m.test(text)) connection.end();
    };
    using wire = await stage.tunnel();
    wire.send(`GET /me HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\nConnection: close\r\n\r\n`);
    const all = await wire.untilClosed();
    await stage.secure.closeAll();
    return all;
  };

  it("would be heard without scrubbing, so that the rest of this file means something", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`, { scrub: "off" })]);
    for (const spell of Object.values(spellings)) {
      expect(holdsSecret(await ask(containers["a body"]?.(spell(secret)) ?? ""))).toBe(true);
    }
  });

  for (const [container, wrap] of Object.entries(containers)) {
    it(`in ${container} is not heard, however it spells it`, async () => {
      await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
      for (const [spelling, spell] of Object.entries(spellings)) {
        const heard = await ask(wrap(spell(secret)));
        expect(heard, spelling).toMatch(/^HTTP\/1\.1 /);
        expect(holdsSecret(heard), `${spelling}: ${heard}`).toBe(false);
      }
    });
  }

  it("is refused before a byte of a small answer, where the service blocks", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`, { scrub: "block" })]);
    for (const container of ["a body", "gzip", "br", "a header", "a redirect", "an interim answer"]) {
      const heard = await ask(containers[container]?.(secret) ?? "");
      expect(heard, container).toMatch(/^HTTP\/1\.1 502 /);
      expect(heard, container).toContain('"error":"credential_in_answer"');
      expect(holdsSecret(heard)).toBe(false);
    }
  });

  it("does as the vault says where the service says nothing, and the log of requests tells what was found", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    await stage.server.api("PATCH", "/v1/vaults/default/settings", { scrub: "block" });
    expect(await ask(containers["a body"]?.(secret) ?? "")).toMatch(/^HTTP\/1\.1 502 /);
    await stage.server.api("PATCH", "/v1/vaults/default/settings", { scrub: "" });
    expect(await ask(containers["a body"]?.(secret) ?? "")).toMatch(/^HTTP\/1\.1 200 /);
    await expect
      .poll(async () => {
        const { logs } = (await stage.server.api("GET", "/v1/vaults/default/logs?limit=2")) as { logs: object[] };
        return logs;
      })
      .toMatchObject([
        { status: 200, error_code: "", scrub: { mode: "redact", credential_keys: ["UPSTREAM_TOKEN"] } },
        {
          status: 502,
          error_code: "credential_in_answer",
          scrub: { mode: "block", credential_keys: ["UPSTREAM_TOKEN"] },
        },
      ]);
    expect(stage.server.log()).toMatch(/credential_in_answer/);
    expect(stage.server.log()).not.toContain(secret);
  });

  it("in the messages of a WebSocket is not heard, however it spells it", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    const upgrade =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for (const [spelling, spell] of Object.entries(spellings)) {
      const messages = textFrames(`{"authorization":"${spell(secret)}"}`);
      stage.secure.script = (connection) => {
        connection.send(
          "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
            `Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Echo: ${spell(secret)}\r\n\r\n${messages}`,
        );
        connection.end();
      };
      using wire = await stage.tunnel();
      wire.send(`GET /ws HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${upgrade}\r\n\r\n`);
      const heard = await wire.untilClosed();
      const payloads = payloadsIn(heard);
      expect(payloads.split('"authorization":"').length - 1, spelling).toBe(2);
      expect(holdsSecret(`${heard}\n${payloads}`), `${spelling}: ${heard}`).toBe(false);
    }
  });

  it("gives an agent that substitutes no second way: what went into the query comes back as the placeholder", async () => {
    const service = {
      name: "upstream",
      host: `${hosts.api}:${stage.secure.port}`,
      auth: { type: "passthrough" },
      substitutions: [{ key: "UPSTREAM_TOKEN", placeholder: "__token__", in: ["query"] }],
    };
    await stage.services([service]);
    stage.secure.script = (connection) => {
      const [, target = ""] = /^GET (\S+)/.exec(connection.received) ?? [];
      connection.send(fixed("", `{"next":"${target}"}`));
    };
    const { body } = await stage.ask("/list?key=__token__&page=2");
    expect(stage.secure.heads[0]).toContain(`GET /list?key=${secret}&page=2 HTTP/1.1`);
    expect(body).toBe('{"next":"/list?key=__token__&page=2"}');
    expect(await stage.everythingWritten()).not.toContain(secret);
  });
});
