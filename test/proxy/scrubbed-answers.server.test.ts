import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { brotliCompressSync, gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { ScrubMode, Service } from "../../src/domain/services/service.ts";
import { type ProxySetup, TestProxy } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const marker = "[redacted]**********************";
const service = (more: Partial<Service> = {}): Service => ({
  name: "api",
  pattern: { host: "api.test" },
  auth: { type: "bearer", token: "KEY" },
  substitutions: [],
  ...more,
});

interface Answer {
  readonly status: number;
  readonly head: string;
  /** Without chunk framing. */
  readonly body: string;
  readonly isComplete: boolean;
  readonly proxy: TestProxy;
  /** The request as the upstream got it. */
  readonly received: string;
}

type Script = (socket: Socket, received: string) => void;

/** Sends one request and reads its answer until the connection closes. */
async function ask(
  script: Script,
  options: {
    readonly service?: Partial<Service>;
    readonly headers?: string;
    readonly setup?: Partial<ProxySetup>;
  } = {},
): Promise<Answer> {
  let received = "";
  await using upstream = await startRawUpstream({
    authority: trusted,
    names: ["api.test"],
    script: (socket, text) => {
      received = text;
      if (text.endsWith("\r\n\r\n")) script(socket, text);
    },
  });
  const services = [service(options.service)];
  await using proxy = await TestProxy.start({ trusted, services, credentials: { KEY: secret }, ...options.setup });
  const client = await proxy.tunnel(`api.test:${upstream.port}`);
  client.send(
    `GET /me HTTP/1.1\r\nHost: api.test:${upstream.port}\r\nConnection: close\r\n${options.headers ?? ""}\r\n`,
  );
  const all = await client.rest();
  const end = all.indexOf("\r\n\r\n") + 4;
  const head = all.slice(0, end);
  return { status: Number(head.slice(9, 12)), head, proxy, received, ...bodyOf(head, all.slice(end)) };
}

function bodyOf(head: string, rest: string): { readonly body: string; readonly isComplete: boolean } {
  const length = /^content-length: (\d+)/im.exec(head)?.[1];
  if (length !== undefined) return { body: rest, isComplete: rest.length === Number(length) };
  if (!/^transfer-encoding: chunked/im.test(head)) return { body: rest, isComplete: true };
  let body = "";
  for (let at = 0; ; ) {
    const line = rest.indexOf("\r\n", at);
    if (line === -1) return { body, isComplete: false };
    const size = Number.parseInt(rest.slice(at, line), 16);
    if (size === 0) return { body, isComplete: rest.endsWith("\r\n\r\n") };
    body += rest.slice(line + 2, line + 2 + size);
    at = line + size + 4;
  }
}

const answer =
  (body: string | Buffer, headers = "", reason = "OK"): Script =>
  (socket) => {
    socket.write(`HTTP/1.1 200 ${reason}\r\n${headers}Content-Length: ${body.length}\r\n\r\n`, "latin1");
    socket.write(body);
  };
const json = `{"authorization":"Bearer ${secret}"}`;

describe("an answer that holds the credential", () => {
  it.each([
    { mode: "off", body: json, found: undefined },
    { mode: "detect", body: json, found: ["KEY"] },
    { mode: "redact", body: json.replace(secret, marker), found: ["KEY"] },
  ] as const)("in the mode $mode", async ({ mode, body, found }) => {
    const got = await ask(answer(json, "Content-Type: application/json\r\n"), { service: { scrub: mode } });
    expect(got).toMatchObject({ status: 200, body, isComplete: true });
    expect(got.head).toContain(`Content-Length: ${json.length}\r\n`);
    expect(got.proxy.journal[0]?.scrubbed?.found).toEqual(found);
  });

  it("is refused with a clean 502 in the mode block, which names the key and not the value", async () => {
    const got = await ask(answer(json), { service: { scrub: "block" } });
    expect(got.status).toBe(502);
    expect(JSON.parse(got.body)).toMatchObject({ error: "credential_in_answer", credential_keys: ["KEY"] });
    expect(got.head + got.body).not.toContain(secret);
    expect(got.proxy.journal[0]).toMatchObject({
      status: 502,
      errorCode: "credential_in_answer",
      scrubbed: { mode: "block", found: ["KEY"], isBlind: false },
    });
  });

  it("breaks off in the mode block when a part of it was sent already", async () => {
    const got = await ask(
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n");
        setTimeout(() => socket.write(`${secret.length.toString(16)}\r\n${secret}\r\n0\r\n\r\n`), 100);
      },
      { service: { scrub: "block" } },
    );
    expect(got).toMatchObject({ status: 200, body: "first ", isComplete: false });
    expect(got.proxy.journal[0]).toMatchObject({ status: 200, errorCode: "credential_in_answer" });
  });

  it("is the vault's business where the service says nothing", async () => {
    const blocked = await ask(answer(json), { setup: { scrubMode: "block" } });
    expect(blocked.status).toBe(502);
    const redacted = await ask(answer(json), { setup: { scrubMode: "block" }, service: { scrub: "redact" } });
    expect(redacted.body).toBe(json.replace(secret, marker));
  });

  it("is cleaned in its reason, headers and trailers, and everything else in the head stays as it was", async () => {
    const got = await ask(
      (socket) =>
        socket.write(
          `HTTP/1.1 302 See ${secret}\r\nLocation: https://api.test/?key=${secret}\r\nX-B:  odd  \r\nx-c: é\r\n` +
            `Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: ${secret}\r\n\r\n`,
          "latin1",
        ),
      {},
    );
    expect(got.head).toBe(
      `HTTP/1.1 302 See ${marker}\r\nLocation: https://api.test/?key=${marker}\r\nX-B: odd\r\nx-c: é\r\n` +
        "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n",
    );
    expect(got.body).toBe("ok");
    expect(got.proxy.journal[0]?.scrubbed?.found).toEqual(["KEY"]);
  });

  it("is refused in the mode block when only a header, an interim answer or a trailer holds it", async () => {
    const block = { service: { scrub: "block" as ScrubMode } };
    expect((await ask(answer("ok", `X-Echo: ${secret}\r\n`), block)).status).toBe(502);
    const early = await ask(
      (socket) => socket.write(`HTTP/1.1 103 Hints\r\nLink: ${secret}\r\n\r\nHTTP/1.1 204 None\r\n\r\n`),
      block,
    );
    expect(early.status).toBe(502);
    const trailer = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: ${secret}\r\n\r\n`;
    const late = await ask((socket) => socket.write(trailer), block);
    expect(late.isComplete).toBe(false);
    expect(late.head + late.body).not.toContain(secret);
  });

  it.each([
    { coding: "gzip", body: gzipSync(json) },
    { coding: "br", body: brotliCompressSync(json) },
  ])("is found in $coding, which goes to the agent undone", async ({ coding, body }) => {
    const headers = `Content-Encoding: ${coding}\r\nETag: "x"\r\n`;
    const got = await ask(answer(body, headers), { headers: `Accept-Encoding: ${coding}, x-own\r\n` });
    expect(got.received).toContain(`Accept-Encoding: ${coding}\r\n`);
    expect(got).toMatchObject({ body: json.replace(secret, marker), isComplete: true });
    expect(got.head).not.toMatch(/content-encoding|content-length/i);
    expect(got.head).toContain('ETag: "x"');
    const detected = await ask(answer(body, headers), { service: { scrub: "detect" } });
    expect(detected.body).toBe(body.toString("latin1"));
    expect(detected.proxy.journal[0]?.scrubbed?.found).toEqual(["KEY"]);
    expect((await ask(answer(body, headers), { service: { scrub: "block" } })).status).toBe(502);
  });

  it("is found wherever the bytes are cut", async () => {
    const got = await ask((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      const send = (at: number) => {
        if (at >= json.length) socket.write("0\r\n\r\n");
        else {
          socket.write(`5\r\n${json.slice(at, at + 5).padEnd(5)}\r\n`);
          setImmediate(send, at + 5);
        }
      };
      send(0);
    });
    expect(got.body.trimEnd()).toBe(json.replace(secret, marker));
  });

  it("gets the placeholder back where there is one, and is framed anew", async () => {
    const substitutions = [{ key: "KEY", placeholder: "__key__", in: ["path"] }] as const;
    const got = await ask(answer(json), { service: { auth: { type: "passthrough" }, substitutions } });
    expect(got).toMatchObject({ body: '{"authorization":"Bearer __key__"}', isComplete: true });
    expect(got.head).toContain("Transfer-Encoding: chunked");
    expect(got.head).not.toMatch(/content-length/i);
  });
});

describe("an answer that cannot be looked into", () => {
  it("is refused in the mode block, and otherwise passes with a note in the journal", async () => {
    const unknown = answer("????", "Content-Encoding: x-own\r\n");
    const blocked = await ask(unknown, { service: { scrub: "block" } });
    expect(JSON.parse(blocked.body)).toMatchObject({ error: "answer_not_scannable" });
    const passed = await ask(unknown);
    expect(passed.body).toBe("????");
    expect(passed.proxy.journal[0]?.scrubbed).toEqual({ mode: "redact", found: [], isBlind: true });
  });

  it("is cut short when its coding turns out to be a lie", async () => {
    const got = await ask(answer("this is no gzip", "Content-Encoding: gzip\r\n"));
    expect(got.isComplete && got.status === 200).toBe(false);
    expect(got.body).not.toContain("this is no gzip");
  });
});

describe("an answer without the credential", () => {
  const plain = `{"id":"${"x".repeat(500)}"}`;

  it("passes byte for byte, and leaves nothing in the journal", async () => {
    const got = await ask(answer(plain, "X-B:x\r\nx-C: y\r\n"));
    expect(got.head).toBe(
      `HTTP/1.1 200 OK\r\nX-B: x\r\nx-C: y\r\nContent-Length: ${plain.length}\r\nConnection: close\r\n\r\n`,
    );
    expect(got.body).toBe(plain);
    expect(got.proxy.journal[0]?.scrubbed).toBeUndefined();
  });

  it("keeps its coding where nothing was injected", async () => {
    const body = gzipSync(plain);
    const got = await ask(answer(body, "Content-Encoding: gzip\r\n"), {
      service: { auth: { type: "passthrough" } },
      headers: "Accept-Encoding: gzip, x-own\r\n",
    });
    expect(got.received).toContain("Accept-Encoding: gzip, x-own\r\n");
    expect(gunzipSync(Buffer.from(got.body, "latin1")).toString()).toBe(plain);
  });

  it("is streamed: the first event of a feed arrives while the feed is open, in every mode", async () => {
    for (const scrub of ["detect", "redact", "block"] as const) {
      await using upstream = await startRawUpstream({
        authority: trusted,
        names: ["api.test"],
        script: (socket) =>
          socket.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nd\r\ndata: first\n\n\r\n",
          ),
      });
      await using proxy = await TestProxy.start({
        trusted,
        services: [service({ scrub })],
        credentials: { KEY: secret },
      });
      const client = await proxy.tunnel(`api.test:${upstream.port}`);
      client.send(`GET /feed HTTP/1.1\r\nHost: api.test:${upstream.port}\r\n\r\n`);
      expect(await client.until("data: first\n\n")).toContain("200 OK");
      client.socket.destroy();
    }
  });

  it("that is compressed waits for a slow agent, and arrives whole", async () => {
    const text = randomBytes(16 * 1024 * 1024).toString("hex");
    const body = gzipSync(text, { level: 1 });
    let sent = 0;
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["api.test"],
      script: (socket) => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`);
        const write = (): void => {
          while (sent < body.length) {
            const part = body.subarray(sent, sent + 64 * 1024);
            sent += part.length;
            if (!socket.write(part)) return void socket.once("drain", write);
          }
        };
        write();
      },
    });
    await using proxy = await TestProxy.start({ trusted, services: [service()], credentials: { KEY: secret } });
    const host = `api.test:${upstream.port}`;
    const client = await proxy.tunnel(host);
    client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    await client.head();
    client.socket.pause();
    let before = -1;
    while (before !== sent) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(sent).toBeLessThan(body.length);
    client.socket.resume();
    const { body: arrived, isComplete } = bodyOf("transfer-encoding: chunked", await client.rest());
    expect(isComplete).toBe(true);
    expect(arrived === text).toBe(true);
  });

  it("leaves the connections in order: compressed and plain answers one after the other", async () => {
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["api.test"],
      script: (socket, received) => {
        if (!received.endsWith("\r\n\r\n")) return;
        const count = received.split("GET ").length - 1;
        const body = count % 2 === 1 ? gzipSync(`answer ${count}`) : Buffer.from(`answer ${count}`);
        const coding = count % 2 === 1 ? "Content-Encoding: gzip\r\n" : "";
        socket.write(`HTTP/1.1 200 OK\r\n${coding}Content-Length: ${body.length}\r\n\r\n`);
        socket.write(body);
      },
    });
    await using proxy = await TestProxy.start({ trusted, services: [service()], credentials: { KEY: secret } });
    const host = `api.test:${upstream.port}`;
    const client = await proxy.tunnel(host);
    for (let count = 1; count <= 6; count += 1) {
      client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect(await client.until(`answer ${count}`)).toContain("200 OK");
      if (count % 2 === 1) await client.until("0\r\n\r\n");
    }
    expect(upstream.connections).toBe(1);
    client.socket.destroy();
  });
});
