import { once } from "node:events";
import { gzipSync } from "node:zlib";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Service, Surface } from "../../src/domain/services/service.ts";
import { TestProxy } from "../support/proxy.ts";
import { type RecordedRequest, startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const all: readonly Surface[] = ["path", "query", "header", "body", "websocket"];

interface Request {
  readonly target?: string;
  readonly method?: string;
  /** Lines, each with its CRLF. */
  readonly headers?: string;
  /** As it goes over the wire. */
  readonly body?: string | Buffer;
}

interface Outcome {
  readonly status: number;
  readonly answer: string;
  readonly code: string | undefined;
  /** Undefined when nothing reached the upstream. */
  readonly arrived: RecordedRequest | undefined;
  readonly proxy: TestProxy;
}

/** One request of a service with the placeholder `__v__` for `value`. */
async function send(
  value: string,
  request: Request,
  options: { readonly surfaces?: readonly Surface[]; readonly service?: Partial<Service> } = {},
): Promise<Outcome> {
  await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
  const services: Service[] = [
    {
      name: "api",
      pattern: { host: "api.test" },
      auth: { type: "passthrough" },
      substitutions: [{ key: "VALUE", placeholder: "__v__", in: options.surfaces ?? all }],
      ...options.service,
    },
  ];
  await using proxy = await TestProxy.start({ trusted, services, credentials: { VALUE: value, KEY: "sk_injected_1" } });
  const host = `api.test:${upstream.port}`;
  const client = await proxy.tunnel(host);
  const { target = "/", method = "GET", headers = "", body = "" } = request;
  client.send(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${headers}\r\n`);
  if (body.length > 0) client.send(body.toString("latin1"));
  const answer = await client.rest();
  return {
    status: Number(answer.slice(9, 12)),
    answer,
    code: /x-agent-vault-error-code: (\w+)/i.exec(answer)?.[1],
    arrived: upstream.requests[0],
    proxy,
  };
}

const withBody = (type: string | undefined, body: string | Buffer, more = ""): Request => ({
  method: "POST",
  headers: `${type === undefined ? "" : `Content-Type: ${type}\r\n`}${more}Content-Length: ${body.length}\r\n`,
  body,
});

describe("a placeholder", () => {
  it.each([
    { value: "abc/def", target: "/a/__v__/b", arrives: "/a/abc%2Fdef/b", because: "a segment stays one segment" },
    { value: "a&b=c d", target: "/?q=__v__&r=1", arrives: "/?q=a%26b%3Dc+d&r=1", because: "a parameter stays one" },
    { value: "AC123", target: "/__V__?q=__V__", arrives: "/__V__?q=__V__", because: "case counts" },
    { value: "AC123", target: "/__v____v__", arrives: "/AC123AC123", because: "each one is replaced" },
  ])("in the target $target: $because", async ({ value, target, arrives }) => {
    const { arrived, proxy } = await send(value, { target });
    expect(arrived?.url).toBe(arrives);
    expect(proxy.journal[0], "what the agent sent is what is remembered").toMatchObject({
      path: target.split("?")[0],
      credentialKeys: ["VALUE"],
      status: 200,
    });
  });

  it("is left alone on a surface that is not declared", async () => {
    const { arrived } = await send(
      "AC123",
      { ...withBody("text/plain", "__v__", "X-A: __v__\r\n"), target: "/__v__?q=__v__" },
      { surfaces: ["path"] },
    );
    expect(arrived?.url).toBe("/AC123?q=__v__");
    expect(arrived?.values("x-a")).toEqual(["__v__"]);
    expect(arrived?.body.toString()).toBe("__v__");
  });

  it("is replaced in headers and inside of Basic credentials, never in the service's own headers", async () => {
    const pair = Buffer.from("__v__:x").toString("base64");
    const headers = `X-A: a __v__ b\r\nX-B: __v__\r\nProxy-Hint: plain\r\nAuthorization: Basic ${pair}\r\n`;
    const { arrived } = await send("AC123", { headers });
    expect(arrived?.values("x-a")).toEqual(["a AC123 b"]);
    expect(arrived?.values("proxy-hint")).toEqual(["plain"]);
    expect(arrived?.values("authorization")).toEqual([`Basic ${Buffer.from("AC123:x").toString("base64")}`]);
    const injected = await send("AC123", { headers }, { service: { auth: { type: "bearer", token: "KEY" } } });
    expect(injected.arrived?.values("authorization")).toEqual(["Bearer sk_injected_1"]);
  });

  it.each([
    {
      type: "application/x-www-form-urlencoded",
      value: "s3cr&t=val+ue",
      body: "k=__v__",
      arrives: "k=s3cr%26t%3Dval%2Bue",
    },
    { type: "application/x-www-form-urlencoded; charset=utf-8", value: "a b", body: "k=__v__", arrives: "k=a+b" },
    {
      type: "application/json",
      value: 'val"with\\slash',
      body: '{"k":"__v__"}',
      arrives: '{"k":"val\\"with\\\\slash"}',
    },
    { type: "application/json", value: "<", body: '{"k":"__v__"}', arrives: '{"k":"\\u003c"}' },
    { type: "application/vnd.api+json", value: 'a"b', body: '["__v__"]', arrives: '["a\\"b"]' },
    { type: "text/plain", value: 'a"<&', body: "__v__", arrives: 'a"<&' },
    { type: "application/xml", value: "a<b", body: "<k>__v__</k>", arrives: "<k>a&#60;b</k>" },
    { type: undefined, value: "raw value", body: "__v__!", arrives: "raw value!" },
  ])("in a body of $type is written as $arrives, with the right length", async ({ type, value, body, arrives }) => {
    const { arrived } = await send(value, withBody(type, body));
    expect(arrived?.body.toString()).toBe(arrives);
    expect(arrived?.values("content-length")).toEqual([String(arrived?.body.length)]);
    expect(arrived?.values("transfer-encoding")).toEqual([]);
  });

  it("in a chunked body is replaced while it streams, also across chunks, and its trailers are kept", async () => {
    const { arrived, status } = await send("AC123", {
      method: "POST",
      headers: "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
      body: '6\r\n{"k":"\r\n3\r\n__v\r\n4\r\n__"}\r\n0\r\nX-Sum: __v__\r\n\r\n',
    });
    expect(status).toBe(200);
    expect(arrived?.body.toString()).toBe('{"k":"AC123"}');
    expect(arrived?.values("transfer-encoding")).toEqual(["chunked"]);
  });

  it("in a large chunked upload is replaced on the way: 20 MiB, placeholders across chunks", async () => {
    const { proxy, client, upstream, host } = await bodySetup("AC123");
    const part = Buffer.alloc(64 * 1024, "x");
    part.write("__v", part.length - 3); // its rest begins the next part
    part.write("__", 0);
    const count = 320;
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n`);
    for (let left = count; left > 0; left -= 1) {
      client.socket.write(`${part.length.toString(16)}\r\n`);
      client.socket.write(part);
      if (!client.socket.write("\r\n")) await once(client.socket, "drain");
    }
    client.send("2\r\n__\r\n0\r\n\r\n");
    expect(await client.head()).toContain("200 OK");
    const arrived = upstream.requests[0]?.body.toString("latin1") ?? "";
    expect(arrived.startsWith("__xxx")).toBe(true);
    expect(arrived.split("AC123").length - 1).toBe(count);
    expect(arrived).not.toContain("__v__");
    expect(arrived.length).toBe(count * part.length + 2);
    client.socket.destroy();
    expect(proxy.journal[0]?.bytesIn).toBe(count * part.length + 2);
  });

  it("is waited for by us when the agent asks before it sends: the upstream is not asked", async () => {
    const { client, upstream, host } = await bodySetup("a longer value");
    for (const round of [0, 1]) {
      client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
      expect(await client.head()).toBe("HTTP/1.1 100 Continue\r\n\r\n");
      client.send("__v__");
      expect(await client.until("0\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 /);
      expect(upstream.requests[round]?.body.toString()).toBe("a longer value");
      expect(upstream.requests[round]?.values("expect")).toEqual([]);
    }
    client.socket.destroy();
  });

  it("is sent once more with its body when an idle connection turns out to be dead", async () => {
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["api.test"],
      script: (socket, received, connection) => {
        if (!received.endsWith("AC123")) return;
        // The second request of a connection is what an upstream sees that gave up on it in the meantime.
        if (connection === 0 && received.split("PUT ").length === 3) socket.destroy();
        else socket.write("HTTP/1.1 204 Fine\r\n\r\n");
      },
    });
    await using proxy = await TestProxy.start({ trusted, services: inBodies, credentials: { VALUE: "AC123" } });
    const host = `api.test:${upstream.port}`;
    const client = await proxy.tunnel(host);
    for (const _ of [0, 1]) {
      client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\n\r\n__v__`);
      expect(await client.head()).toMatch(/^HTTP\/1\.1 204 /);
    }
    expect(upstream.received[1]).toContain("Content-Length: 5\r\n\r\nAC123");
    client.socket.destroy();
  });
});

const inBodies: readonly Service[] = [
  {
    name: "api",
    pattern: { host: "api.test" },
    auth: { type: "passthrough" },
    substitutions: [{ key: "VALUE", placeholder: "__v__", in: ["body"] }],
  },
];

/** A proxy that substitutes in bodies, and a tunnel through it. */
async function bodySetup(value: string) {
  const upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
  const proxy = await TestProxy.start({ trusted, services: inBodies, credentials: { VALUE: value } });
  const host = `api.test:${upstream.port}`;
  onTestFinished(async () => {
    await proxy.close();
    await upstream.close();
  });
  return { upstream, proxy, host, client: await proxy.tunnel(host) };
}

describe("a request whose placeholder cannot be replaced never arrives", () => {
  const gzipped = gzipSync('{"k":"__v__"}');
  it.each([
    { request: { headers: "__v__: x\r\n" }, status: 400, code: "placeholder_in_header_name" },
    { request: withBody("image/png", "..__v__.."), status: 415, code: "placeholder_in_binary_body" },
    {
      request: withBody("application/json", gzipped, "Content-Encoding: gzip\r\n"),
      status: 415,
      code: "placeholder_in_compressed_body",
    },
    {
      request: withBody("application/json", "????", "Content-Encoding: x-own\r\n"),
      status: 415,
      code: "body_coding_unknown",
    },
    {
      request: withBody("multipart/form-data; boundary=b", "no parts: __v__"),
      status: 400,
      code: "multipart_malformed",
    },
    {
      request: {
        method: "POST",
        headers: "Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n",
        body: "5\r\n__v__\r\n0\r\n\r\n",
      },
      status: 415,
      code: "placeholder_in_binary_body",
    },
  ])("$code", async ({ request, status, code }) => {
    const outcome = await send("AC123", request);
    expect(outcome).toMatchObject({ status, code, arrived: undefined });
    expect(outcome.proxy.journal[0]).toMatchObject({ status, errorCode: code });
  });

  it.each([
    { value: "a\r\nX-Injected: 1", request: { headers: "X-A: __v__\r\n" }, because: "a line break in a header" },
    { value: "..", request: { target: "/a/__v__/b" }, because: "a segment of dots" },
    {
      value: "a:b",
      request: { headers: `Authorization: Basic ${Buffer.from("__v__:x").toString("base64")}\r\n` },
      because: "a colon in a user name",
    },
  ])("for $because", async ({ value, request }) => {
    const outcome = await send(value, request);
    expect(outcome).toMatchObject({ status: 502, code: "credential_unusable", arrived: undefined });
    expect(outcome.answer).not.toContain("X-Injected");
  });

  it("but a value that cannot be a header hurts only who uses it there", async () => {
    const { arrived } = await send("line one\nline two", withBody("application/json", '{"k":"__v__"}'));
    expect(arrived?.body.toString()).toBe('{"k":"line one\\nline two"}');
  });

  it("for a missing credential", async () => {
    const service = { substitutions: [{ key: "GONE", placeholder: "__v__", in: ["path"] }] } as const;
    const outcome = await send("x", { target: "/plain" }, { service });
    expect(outcome).toMatchObject({ status: 502, code: "credential_not_found", arrived: undefined });
  });

  it("passes what is compressed and holds no placeholder", async () => {
    const body = gzipSync('{"k":"v"}');
    const { arrived, status } = await send("AC123", withBody("application/json", body, "Content-Encoding: gzip\r\n"));
    expect(status).toBe(200);
    expect(arrived?.body.equals(body)).toBe(true);
  });
});
