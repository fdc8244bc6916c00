import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { buildProxyEnv } from "../../src/client/proxy-env.ts";
import { AgentVault, AgentVaultError, ApiError, VaultClient } from "../../src/client/sdk/sdk.ts";
import { directFetch } from "../../src/runtime/direct-fetch.ts";

const variables = ["AGENT_VAULT_TOKEN", "AGENT_VAULT_SESSION_TOKEN", "AGENT_VAULT_ADDR", "AGENT_VAULT_VAULT"] as const;
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
  for (const name of variables) delete process.env[name];
});

interface Seen {
  readonly line: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A server that answers by `METHOD /path`, and with `{}` to everything else. */
async function serve(routes: Readonly<Record<string, (response: ServerResponse, count: number) => void>> = {}) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      const line = `${request.method} ${request.url}`;
      seen.push({ line, headers: request.headers, body });
      const route = routes[line.replace(/\?.*/, "")];
      const count = seen.filter((one) => one.line.replace(/\?.*/, "") === line.replace(/\?.*/, "")).length;
      if (route) route(response, count);
      else response.end("{}");
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { seen, address, av: new AgentVault({ address, token: "t", fetch: directFetch, timeout: 500 }) };
}

const answer =
  (status: number, body: unknown, headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    void response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));

async function failure(work: Promise<unknown>): Promise<AgentVaultError> {
  const error = await work.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  if (error instanceof AgentVaultError) return error;
  throw error;
}

describe("a client of the package", () => {
  it.each([
    { env: { AGENT_VAULT_TOKEN: "new", AGENT_VAULT_SESSION_TOKEN: "old" }, sent: "new", because: "the new name wins" },
    { env: { AGENT_VAULT_SESSION_TOKEN: "old" }, sent: "old", because: "programs set the older name" },
    { env: { AGENT_VAULT_TOKEN: "new" }, token: "given", sent: "given", because: "an option beats the environment" },
    { env: { AGENT_VAULT_TOKEN: "", AGENT_VAULT_SESSION_TOKEN: "old" }, sent: "old", because: "empty is unset" },
  ])("takes its token from where it is: $because", async ({ env, token, sent }) => {
    const { seen, address } = await serve();
    Object.assign(process.env, env, { AGENT_VAULT_ADDR: `${address}//` });
    await new AgentVault({ token, fetch: directFetch }).deleteVault("v");
    expect(seen[0]?.line).toBe("DELETE /v1/vaults/v");
    expect(seen[0]?.headers.authorization).toBe(`Bearer ${sent}`);
  });

  it("refuses to begin without a token, or with an address that is none", async () => {
    expect(() => new AgentVault()).toThrow(expect.objectContaining({ code: "missing_token" }));
    expect(() => new VaultClient()).toThrow(AgentVaultError);
    for (const address of ["localhost:14321", "ftp://a", "x"]) {
      expect(() => new AgentVault({ token: "t", address })).toThrow(
        expect.objectContaining({ code: "invalid_address" }),
      );
    }
    expect(new AgentVault({ token: "t" }).address).toBe("http://localhost:14321");
  });

  it("says what it is, sends the headers that were given, and names the vault", async () => {
    const { seen, address } = await serve();
    const av = new AgentVault({ token: "t", address, headers: { "x-trace": "1" }, fetch: directFetch });
    await av.vault("a b").credentials.list();
    expect(seen[0]?.line).toMatch(/^GET \/v1\/credentials\?vault=a\+b/);
    expect(seen[0]?.headers).toMatchObject({
      "user-agent": `agent-vault-sdk-typescript/${packageJson.version}`,
      "x-trace": "1",
      "x-vault": "a b",
    });
    expect(seen[0]?.headers).not.toHaveProperty("content-type");
    expect(seen[0]?.headers).not.toHaveProperty("x-av-client");
  });

  it("leaves the vault to the token when nobody names one", async () => {
    const { seen, address } = await serve();
    const vault = new VaultClient({ token: "t", address, fetch: directFetch });
    await vault.credentials.list();
    await vault.credentials.set({ A: "1" });
    await vault.discover();
    await vault.proposals.get(1);
    expect(seen.map(({ line }) => line)).toEqual([
      "GET /v1/credentials?limit=500",
      "POST /v1/credentials",
      "GET /discover",
      "GET /v1/proposals/1",
    ]);
    expect(seen[1]?.body).toBe('{"credentials":{"A":"1"}}');
    for (const { headers } of seen) expect(headers).not.toHaveProperty("x-vault");
    process.env.AGENT_VAULT_VAULT = "from-run";
    expect(new VaultClient({ token: "t", address }).name).toBe("from-run");
  });

  it.each([
    { status: 404, body: { error: "No such vault", code: "vault_not_found" }, code: "vault_not_found" },
    { status: 403, body: { error: "forbidden", message: "No such vault" }, code: "forbidden" },
    { status: 409, body: { error: "No such vault", candidates: [1] }, code: "http_409", details: { candidates: [1] } },
    { status: 502, body: "<html>", code: "http_502", message: "The server answered with status 502" },
  ])(
    "turns $status $body into an ApiError",
    async ({ status, body, code, message = "No such vault", details = {} }) => {
      const { av } = await serve({ "GET /v1/vaults": answer(status, body, { "x-ratelimit-limit": "9" }) });
      const error = await failure(av.listVaults());
      expect(error).toBeInstanceOf(ApiError);
      expect(error).toMatchObject({ name: "ApiError", status, code, message, details });
      expect((error as ApiError).headers.get("x-ratelimit-limit")).toBe("9");
    },
  );

  it("tries nothing again, and says when trying again makes sense", async () => {
    const { av, seen } = await serve({
      "GET /v1/vaults": answer(429, { error: "too_many_requests", message: "Slow down" }, { "retry-after": "7" }),
    });
    expect(await failure(av.listVaults())).toMatchObject({
      status: 429,
      code: "too_many_requests",
      retryAfterSeconds: 7,
    });
    expect(seen).toHaveLength(1);
  });

  it("tells a server that is slow, gone, of another make or elsewhere", async () => {
    const slow = await serve({ "GET /v1/vaults": () => undefined });
    expect(await failure(slow.av.listVaults())).toMatchObject({ name: "AgentVaultError", code: "timeout" });
    const gone = new AgentVault({ address: "http://127.0.0.1:1", token: "t", fetch: directFetch });
    expect(await failure(gone.listVaults())).toMatchObject({ code: "server_unreachable" });
    const other = await serve({ "GET /v1/vaults": answer(200, "<html>") });
    expect(await failure(other.av.listVaults())).toMatchObject({ code: "bad_answer" });
    const moved = await serve({ "GET /v1/vaults": answer(302, "", { location: "/elsewhere" }) });
    expect(await failure(moved.av.listVaults())).toMatchObject({ code: "redirected" });
    expect(moved.seen).toHaveLength(1);
  });

  it("never puts the token into an error", async () => {
    const token = "av_agt_0123456789";
    const { address } = await serve({ "GET /v1/vaults": answer(401, { error: "Invalid or expired session" }) });
    for (const at of [address, "http://127.0.0.1:1"]) {
      const error = await failure(new AgentVault({ address: at, token, fetch: directFetch }).listVaults());
      expect(JSON.stringify({ ...error, message: error.message, cause: String(error.cause) })).not.toContain(token);
    }
  });

  it("reads lists of any length", async () => {
    const { av } = await serve({
      "GET /v1/vaults": (response, count) =>
        answer(200, { vaults: [{ name: `v${count}`, created_at: "x" }], next_cursor: count < 3 ? `c${count}` : null })(
          response,
        ),
    });
    expect(await av.listVaults()).toEqual(["v1", "v2", "v3"].map((name) => ({ name, createdAt: "x" })));
  });

  it("leaves names that are data as they are", async () => {
    const service = { name: "a", host: "h", auth: { type: "custom", headers: { x_api_key: "{{ A }}" } } };
    const proposal = { id: 1, status: "pending", created_at: "x", services_json: JSON.stringify([service]) };
    const { av } = await serve({
      "GET /v1/vaults/v/services": answer(200, { vault: "v", services: [service] }),
      "GET /v1/admin/proposals/1": answer(200, proposal),
    });
    expect((await av.vault("v").services.list()).services).toEqual([service]);
    expect(await av.vault("v").proposals.getForReview(1)).toEqual({
      id: 1,
      status: "pending",
      createdAt: "x",
      services: [service],
    });
  });
});

describe("a session of the package", () => {
  const made = { token: "av_sess_a:b", expires_at: "2026-01-31T12:00:00Z", av_addr: "https://vault.example.com" };

  it("comes with everything that a sandbox needs", async () => {
    const { av, seen, address } = await serve({
      "POST /v1/sessions": answer(200, made),
      "GET /v1/mitm/ca.pem": answer(200, "PEM", { "x-mitm-port": "9999" }),
    });
    const vault = av.vault("billing");
    const session = await vault.sessions.create({ ttlSeconds: 7200 });
    const url = "http://av_sess_a%3Ab:billing@127.0.0.1:9999";
    expect(session).toEqual({
      token: made.token,
      expiresAt: made.expires_at,
      address: made.av_addr,
      id: "",
      containerConfig: {
        env: { HTTPS_PROXY: url, HTTP_PROXY: url, NO_PROXY: "localhost,127.0.0.1" },
        caCertificate: "PEM",
      },
    });
    await vault.sessions.create();
    const posts = seen.filter(({ line }) => line === "POST /v1/sessions");
    expect(posts.map(({ body }) => body)).toEqual(['{"vault":"billing","ttl_seconds":7200}', '{"vault":"billing"}']);
    expect(
      seen.filter(({ line }) => line.startsWith("GET /v1/mitm")),
      `asked ${address} once`,
    ).toHaveLength(1);
  });

  it.each([404, 403, 500])("has no container when the certificate is refused with %i", async (status) => {
    const { av } = await serve({
      "POST /v1/sessions": answer(200, made),
      "GET /v1/mitm/ca.pem": answer(status, "off"),
    });
    expect((await av.vault("v").sessions.create()).containerConfig).toBeNull();
  });

  it("asks for the certificate again after the network failed", async () => {
    // Some runtimes ask once more by themselves when a kept connection breaks.
    let isAway = true;
    const { av } = await serve({
      "POST /v1/sessions": answer(200, made),
      "GET /v1/mitm/ca.pem": (response) => (isAway ? void response.destroy() : answer(200, "PEM")(response)),
    });
    const { sessions } = av.vault("v");
    expect(await failure(sessions.create())).toMatchObject({ code: "server_unreachable" });
    isAway = false;
    expect((await sessions.create()).containerConfig?.caCertificate).toBe("PEM");
  });
});

describe("buildProxyEnv", () => {
  it("has every variable that the existing package has, and the spellings that curl reads", () => {
    const url = "http://t:v@[::1]:14322";
    const env = { HTTPS_PROXY: url, HTTP_PROXY: url, NO_PROXY: "localhost,127.0.0.1,[::1]" };
    expect(buildProxyEnv({ env, caCertificate: "PEM" }, "/ca.pem")).toEqual({
      ...env,
      https_proxy: url,
      http_proxy: url,
      no_proxy: env.NO_PROXY,
      NODE_USE_ENV_PROXY: "1",
      OPENCLAW_PROXY_URL: url,
      SSL_CERT_FILE: "/ca.pem",
      NODE_EXTRA_CA_CERTS: "/ca.pem",
      REQUESTS_CA_BUNDLE: "/ca.pem",
      CURL_CA_BUNDLE: "/ca.pem",
      GIT_SSL_CAINFO: "/ca.pem",
      DENO_CERT: "/ca.pem",
    });
  });
});
