import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, openScratchDatabase, password } from "../support/api-server.ts";

const owner = { email: "owner@example.com", password };

describeOnEachEngine("the first account of a server that others can reach", (openScratch) => {
  it("is not for whoever comes first, but for whoever reads the server's output", async () => {
    await using database = await openScratch();
    await using api = await ApiServer.start(database, { host: "0.0.0.0" });
    const register = (body: object) => api.call("POST", "/v1/auth/register", { body: { ...owner, ...body } });
    for (const secret of [undefined, "", "0".repeat(32), (await api.domain.setup.secret()).slice(0, -1)]) {
      const answer = await register({ email: "stranger@example.com", setup_secret: secret });
      expect([answer.status, answer.body.code]).toEqual([403, "setup_secret_required"]);
    }
    expect(await database.db.selectFrom("users").selectAll().execute()).toEqual([]);
    const first = await register({ setup_secret: await api.domain.setup.secret() });
    expect(first.body).toMatchObject({ role: "owner", authenticated: true });
    // It is used up: nobody becomes another owner with it, and others register without it.
    const second = await register({ email: "next@example.com", setup_secret: await api.domain.setup.secret() });
    expect(second.body).toMatchObject({ requires_verification: true });
    expect((await register({ email: "third@example.com" })).status).toBe(201);
  });

  it("has one secret on all instances, and one owner however many use it at once", async () => {
    await using database = await openScratch();
    await using first = await ApiServer.start(database, { host: "::" });
    const setup_secret = await first.domain.setup.secret();
    expect(setup_secret).toMatch(/^[0-9a-f]{32}$/);
    const answers = await Promise.all(
      ["a", "b", "c"].map((name) =>
        first.call("POST", "/v1/auth/register", {
          body: { email: `${name}@example.com`, password, setup_secret },
        }),
      ),
    );
    expect(answers.filter(({ body }) => body.role === "owner")).toHaveLength(1);
  });
});

describe("the setup link", () => {
  it("lets a browser register, by a cookie that goes nowhere else", async () => {
    await using database = await openScratchDatabase();
    await using api = await ApiServer.start(database, {
      host: "10.0.0.5",
      environment: { AGENT_VAULT_ADDR: "https://vault.example.com" },
    });
    const secret = await api.domain.setup.secret();
    const wrong = await api.call("GET", `/setup/${"0".repeat(32)}`);
    expect([wrong.status, wrong.headers.get("set-cookie")]).toEqual([403, null]);
    const right = await api.call("GET", `/setup/${secret}`);
    expect([right.status, right.headers.get("location")]).toEqual([303, "/register"]);
    const cookie = right.headers.get("set-cookie") ?? "";
    expect(cookie).toBe(`av_setup=${secret}; Max-Age=3600; Path=/v1/auth/register; HttpOnly; SameSite=Strict; Secure`);
    const headers = { cookie: cookie.split(";")[0] ?? "" };
    expect((await api.call("POST", "/v1/auth/register", { body: owner })).status).toBe(403);
    // Another port of the same host is the same site, and its pages send the cookie along.
    for (const foreign of [{ "sec-fetch-site": "same-site" }, { origin: "http://127.0.0.1:8080" }]) {
      const body = { email: "stranger@example.com", password };
      const forged = await api.call("POST", "/v1/auth/register", { body, headers: { ...headers, ...foreign } });
      expect([forged.status, forged.body.code]).toEqual([403, "cross_origin"]);
    }
    expect((await api.call("POST", "/v1/auth/register", { body: owner, headers })).body.role).toBe("owner");
    const used = await api.call("GET", `/setup/${secret}`);
    expect([used.headers.get("location"), used.headers.get("set-cookie")]).toEqual(["/login", null]);
  });

  it.each([
    [{ host: "127.0.0.1" }, "only this machine reaches it"],
    [{ host: "127.0.0.1", environment: { AGENT_VAULT_ADDR: "https://vault.example.com" } }, "a proxy stands in front"],
    [{ host: "0.0.0.0", environment: { AGENT_VAULT_OPEN_SETUP: "true" } }, "its operator wants it open"],
  ])("is not needed with %j: %s", async (options, _because) => {
    await using database = await openScratchDatabase();
    await using api = await ApiServer.start(database, options);
    expect((await api.call("POST", "/v1/auth/register", { body: owner })).body.role).toBe("owner");
  });
});

describe("a page that rebinds its name to this machine", () => {
  it("cannot register the owner, nor read anything", async () => {
    await using database = await openScratchDatabase();
    await using api = await ApiServer.start(database);
    const send = async (method: string, path: string, host: string) => {
      const socket = connect(api.port, "127.0.0.1");
      const body = method === "POST" ? JSON.stringify(owner) : "";
      socket.write(
        `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nOrigin: http://${host}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      return text(socket);
    };
    for (const [method, path] of [
      ["POST", "/v1/auth/register"],
      ["GET", "/v1/status"],
      ["GET", "/v1/mitm/ca.pem"],
      ["GET", "/no/such/page"],
    ] as const) {
      const answer = await send(method, path, `evil.example:${api.port}`);
      expect(answer).toMatch(/^HTTP\/1\.1 403 /);
      expect(answer).toContain("foreign_host");
    }
    expect(await database.db.selectFrom("users").selectAll().execute()).toEqual([]);
    expect(await send("POST", "/v1/auth/register", `localhost:${api.port}`)).toMatch(/^HTTP\/1\.1 201 /);
  });
});
