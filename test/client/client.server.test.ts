import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { Client } from "../../src/client/client.ts";
import { AppError } from "../../src/errors.ts";
import { directFetch } from "../../src/runtime/direct-fetch.ts";

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}
type Answer = { status?: number; body?: string; headers?: Record<string, string>; never?: true; stalls?: true };

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(answer: Answer) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, body });
      if (answer.never) return;
      response.writeHead(answer.status ?? 200, answer.headers ?? {});
      if (answer.stalls) response.write(answer.body ?? "{");
      else response.end(answer.body ?? "{}");
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new Client({ address, token: "av_sess_1", clientName: "cli/1", fetch: directFetch, timeoutMs: 500 });
  return { client, seen, address };
}

async function failure(work: Promise<unknown>): Promise<AppError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error("it succeeded");
}

describe("the client", () => {
  it("says who it is, and sends JSON", async () => {
    const { client, seen } = await serve({ body: '{"set":["A"]}' });
    expect(await client.setCredentials("v", { A: "1" })).toEqual({ set: ["A"] });
    expect(seen[0]).toMatchObject({
      method: "POST",
      url: "/v1/credentials",
      body: '{"vault":"v","credentials":{"A":"1"}}',
    });
    expect(seen[0]?.headers).toMatchObject({
      authorization: "Bearer av_sess_1",
      "x-av-client": "cli/1",
      "content-type": "application/json",
    });
  });

  it.each([
    {
      name: "slack.com/api/*",
      url: "/v1/vaults/v/services/slack.com%2Fapi%2F*",
      because: "a slash would split the segment",
    },
    { name: "..", url: "/v1/vaults/v/services/%2E%2E", because: "dots would climb out of the vault", isResolved: true },
    { name: "a?b#c", url: "/v1/vaults/v/services/a%3Fb%23c", because: "a query would begin" },
  ])("keeps $name in one path segment: $because", async ({ name, url, isResolved }) => {
    const { client, seen } = await serve({});
    await client.removeService("v", name);
    // The URL standard resolves even an encoded dot segment; what counts is that no other vault's path is reached.
    if (isResolved) expect(seen[0]?.url.startsWith("/v1/vaults/v")).toBe(true);
    else expect(seen[0]?.url).toBe(url);
  });

  it.each([
    { status: 401, body: '{"error":"Session expired"}', message: "Session expired", kind: "Unauthenticated" },
    {
      status: 404,
      body: '{"error":"vault_not_found","message":"No such vault."}',
      message: "No such vault",
      kind: "NotFound",
    },
    { status: 409, body: '{"error":"Taken"}', message: "Taken", kind: "Conflict" },
    { status: 500, body: "<html>", message: "The server answered with status 500", kind: "Corrupt" },
    { status: 404, body: "proxy disabled", message: "proxy disabled", kind: "NotFound" },
  ])("turns $status into $kind", async ({ status, body, message, kind }) => {
    const headers = { "content-type": body.startsWith("{") ? "application/json" : "text/plain" };
    const { client } = await serve({ status, body, headers: body.startsWith("<") ? {} : headers });
    expect(await failure(client.listVaults())).toMatchObject({ name: kind, message });
  });

  it("carries further facts of an error, and when to try again", async () => {
    const { client } = await serve({
      status: 429,
      body: '{"error":"Slow down","candidates":[1]}',
      headers: { "retry-after": "7" },
    });
    expect(await failure(client.listVaults())).toMatchObject({ details: { candidates: [1] }, retryAfterSeconds: 7 });
  });

  it("does not let a server's sentence move the cursor", async () => {
    const { client } = await serve({ status: 400, body: JSON.stringify({ error: "a\u001b[2Jb\nc" }) });
    expect((await failure(client.listVaults())).message).toBe("a [2Jb c");
  });

  it("refuses a redirect, which would carry the token elsewhere", async () => {
    const { client, seen } = await serve({ status: 302, headers: { location: "/elsewhere" } });
    expect((await failure(client.listVaults())).code).toBe("redirected");
    expect(seen).toHaveLength(1);
  });

  it("gives up on a server that does not answer, and says when there is none", async () => {
    const { client } = await serve({ never: true });
    expect((await failure(client.health())).message).toContain("did not answer within");
    const gone = new Client({ address: "http://127.0.0.1:1", clientName: "cli/1", fetch: directFetch });
    expect((await failure(gone.health())).message).toContain("cannot be reached");
  });

  it.each([200, 500])("gives up on an answer of %i that stops half-way", async (status) => {
    const { client } = await serve({ status, stalls: true });
    expect((await failure(client.health())).message).toContain("did not answer within");
    expect((await failure(client.proxyAuthority())).message).toContain("did not answer within");
  });

  it("says so when what answers is no agent-vault", async () => {
    const { client } = await serve({ body: "<html>hello</html>" });
    expect((await failure(client.health())).code).toBe("bad_answer");
  });

  it("tells a server without a proxy from one with", async () => {
    const off = await serve({ status: 404, body: "no proxy" });
    expect(await off.client.proxyAuthority()).toBeUndefined();
    const on = await serve({ body: "PEM", headers: { "x-mitm-port": "1234" } });
    expect(await on.client.proxyAuthority()).toEqual({ pem: "PEM", port: 1234, scheme: "http" });
  });

  it("goes past a proxy of the environment", async () => {
    const { client } = await serve({ body: '{"status":"ok"}' });
    const before = { upper: process.env.HTTP_PROXY, lower: process.env.http_proxy };
    process.env.HTTP_PROXY = process.env.http_proxy = "http://127.0.0.1:1";
    try {
      expect(await client.health()).toEqual({ status: "ok" });
    } finally {
      for (const [name, value] of [
        ["HTTP_PROXY", before.upper],
        ["http_proxy", before.lower],
      ] as const) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });
});
