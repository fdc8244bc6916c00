import { describe, expect, it } from "vitest";
import type { Principal } from "../../src/domain/actors/principal.ts";
import { type LimitEnvironment, Limits } from "../../src/domain/limits/tiers.ts";
import { Conflict, Unauthenticated, Unavailable } from "../../src/errors.ts";
import { json } from "../../src/http/answer.ts";
import { ApiApp } from "../../src/http/app.ts";
import { SessionCookie } from "../../src/http/authenticate.ts";
import { HostCheck } from "../../src/http/host-check.ts";
import { body, string } from "../../src/http/openapi/body.ts";
import { ApiRouter } from "../../src/http/router.ts";
import { createLogger } from "../../src/log.ts";
import { MemoryEphemeral } from "../../src/storage/ephemeral-memory.ts";
import { plainRoute } from "../support/plain-route.ts";

const ada: Principal = {
  kind: "user",
  id: "u1",
  email: "ada@example.com",
  role: "member",
  sessionId: "s1",
  clientIp: "",
};
const scoped = (sessionId: string): Principal => ({
  kind: "scoped",
  vaultId: "v1",
  vaultRole: "proxy",
  sessionId,
  clientIp: "",
  createdBy: { type: "user", id: "u1" },
});

interface Sent {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly peer?: string;
}

/** The app over routes that need no domain; tokens are the names of principals. */
function startApp(
  options: { knobs?: LimitEnvironment["knobs"]; isInitialized?: boolean; isDatabaseAway?: boolean } = {},
) {
  const router = new ApiRouter();
  const logged: string[] = [];
  const touched: string[] = [];
  router.on(plainRoute("GET", "/open", { access: "public", tier: "global", initGate: false }), () =>
    json({ open: "<&>" }),
  );
  router.on(plainRoute("GET", "/gated", { access: "public", tier: "global" }), () => json({}));
  router.on(plainRoute("GET", "/mine", { access: "session", tier: "authed" }), ({ principal }) =>
    json({ kind: principal.kind }),
  );
  router.on(
    plainRoute("POST", "/mine", { access: "session", tier: "authed", body: body({ name: string() }) }),
    async (request) => json({ name: (await request.body()).name }),
  );
  router.on(plainRoute("POST", "/anonymous", { access: "public", tier: "auth-ip" }), ({ clientIp }) =>
    json({ clientIp }),
  );
  router.on(plainRoute("GET", "/invites/{token}", { access: "public", tier: "auth-token" }), () => json({}));
  router.on(plainRoute("POST", "/login", { access: "public", tier: "auth-ip", checksOrigin: true }), () => json({}));
  router.on(plainRoute("GET", "/taken", { access: "session", tier: "authed" }), () => {
    throw new Conflict("name_taken", "The name is taken", { details: { name: "x" } });
  });
  router.on(plainRoute("GET", "/bug", { access: "public", tier: "global" }), () => {
    throw new Error("secret detail");
  });
  const app = new ApiApp({
    router,
    sessions: {
      async authenticate(token) {
        if (options.isDatabaseAway) throw new Unavailable("database_unavailable", "The database cannot be reached");
        if (token === "ada") return ada;
        if (token.startsWith("scoped")) return scoped(token);
        throw new Unauthenticated("invalid_session", "Invalid or expired session");
      },
      touch: (principal, caller) => touched.push(`${principal.sessionId} ${caller.ip}`),
    },
    accounts: { isInitialized: async () => options.isInitialized ?? true },
    limits: new Limits({
      ephemeral: new MemoryEphemeral(),
      clock: { now: () => 0 },
      environment: { profile: "default", isLocked: false, knobs: options.knobs ?? {} },
    }),
    baseUrl: "http://127.0.0.1:14321",
    trustedProxies: [],
    hostCheck: new HostCheck({ boundHost: "127.0.0.1", baseUrl: "http://127.0.0.1:14321", trustedProxies: [] }),
    cookie: new SessionCookie({ baseUrl: "http://127.0.0.1:14321" }),
    log: createLogger({
      level: "debug",
      format: "json",
      stream: { write: (line: string) => logged.push(line) } as unknown as NodeJS.WritableStream,
    }),
  });
  const send = (target: string, sent: Sent = {}) =>
    app.handle({
      method: sent.method ?? "GET",
      target,
      headers: new Headers(sent.headers),
      body: () => (sent.body === undefined ? null : new Response(sent.body).body),
      peer: sent.peer ?? "203.0.113.1",
      requestId: "r1",
      signal: new AbortController().signal,
    });
  return { send, logged, touched };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe("the API app", () => {
  it("answers JSON that is harmless inside a page, with every security header", async () => {
    const answer = await startApp().send("/open");
    expect(await answer.text()).toBe('{"open":"\\u003c\\u0026\\u003e"}\n');
    expect(answer.headers.get("content-type")).toBe("application/json");
    for (const name of ["x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy"]) {
      expect(answer.headers.get(name)).not.toBeNull();
    }
  });

  it.each([
    ["GET", "/nope", 404, "404 page not found\n"],
    ["DELETE", "/open", 405, "Method Not Allowed\n"],
    ["OPTIONS", "/mine", 405, "Method Not Allowed\n"],
    ["GET", "/a%zz", 400, "400 Bad Request\n"],
  ])("answers %s %s with %i in plain text", async (method, target, status, body) => {
    const answer = await startApp().send(target, { method });
    expect([answer.status, await answer.text()]).toEqual([status, body]);
    expect(answer.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  });

  it("names the methods of a path, and decides 405 before it asks who is calling", async () => {
    const answer = await startApp({ isInitialized: false }).send("/mine", { method: "PUT" });
    expect(answer.headers.get("allow")).toBe("GET, HEAD, POST");
  });

  it("redirects to the cleaned path and keeps the query", async () => {
    const answer = await startApp().send("/x/..//mine/?a=1");
    expect([answer.status, answer.headers.get("location")]).toEqual([307, "/mine/?a=1"]);
  });

  it("never redirects to another host", async () => {
    const answer = await startApp().send("//evil.example/x");
    expect(answer.headers.get("location")).toBe("/evil.example/x");
  });

  it("answers 503 on gated routes while there is no owner", async () => {
    const app = startApp({ isInitialized: false });
    const gated = await app.send("/gated");
    expect([gated.status, ((await gated.json()) as { error: string }).error]).toEqual([503, "not_initialized"]);
    expect((await app.send("/open")).status).toBe(200);
  });

  it("asks for a token, refuses a wrong one, and notes the use of a right one", async () => {
    const app = startApp();
    expect((await app.send("/mine")).status).toBe(401);
    expect((await app.send("/mine", { headers: bearer("wrong") })).status).toBe(401);
    expect((await app.send("/mine", { headers: { ...bearer("wrong"), cookie: "av_session=ada" } })).status).toBe(401);
    expect((await app.send("/mine", { headers: { cookie: "av_session=ada" } })).status).toBe(200);
    expect(app.touched).toEqual(["s1 203.0.113.1"]);
  });

  it("says unavailable, not unauthenticated, when the database is away", async () => {
    expect((await startApp({ isDatabaseAway: true }).send("/mine", { headers: bearer("ada") })).status).toBe(503);
  });

  it("shows known errors with their word, sentence and details, and limits", async () => {
    const answer = await startApp().send("/taken", { headers: bearer("ada") });
    expect(answer.status).toBe(409);
    expect(await answer.json()).toEqual({ code: "name_taken", error: "The name is taken", name: "x" });
    expect(answer.headers.get("x-ratelimit-limit")).toBe("240");
  });

  it("shows nothing of a bug and logs it with the request's id", async () => {
    const app = startApp();
    const answer = await app.send("/bug");
    expect(await answer.json()).toEqual({ error: "internal error", code: "internal", request_id: "r1" });
    expect(app.logged.join()).toContain("secret detail");
    expect(app.logged.join()).toContain("r1");
  });

  it("logs the route of a request, never its path: that holds tokens", async () => {
    const app = startApp();
    await app.send("/invites/av_uinv_secret?token=av_uinv_other", { headers: bearer("ada") });
    expect(app.logged.join()).toContain("/invites/{token}");
    expect(app.logged.join()).not.toMatch(/av_uinv|Bearer|ada/);
  });

  it("reads a body and refuses a bad one with 400", async () => {
    const app = startApp();
    const post = (body: string) => app.send("/mine", { method: "POST", headers: bearer("ada"), body });
    expect(await (await post('{"Name":"x"} ignored')).json()).toEqual({ name: "x" });
    expect((await post('{"name":1}')).status).toBe(400);
    expect((await post("")).status).toBe(400);
  });

  it("refuses a change that another site made the browser send", async () => {
    const app = startApp();
    const foreign = { cookie: "av_session=ada", "sec-fetch-site": "cross-site" };
    expect((await app.send("/mine", { method: "POST", headers: foreign, body: "{}" })).status).toBe(403);
    expect((await app.send("/login", { method: "POST", headers: { "sec-fetch-site": "same-site" } })).status).toBe(403);
    expect((await app.send("/login", { method: "POST" })).status).toBe(200);
  });
});

describe("the limits of the API", () => {
  it("count anonymous requests per client address", async () => {
    const app = startApp({ knobs: { AUTH: { max: 2 } } });
    const post = (peer: string) => app.send("/anonymous", { method: "POST", peer });
    expect((await post("203.0.113.1")).headers.get("x-ratelimit-remaining")).toBe("1");
    await post("203.0.113.1");
    const refused = await post("203.0.113.1");
    expect(refused.status).toBe(429);
    expect(((await refused.json()) as { error: string }).error).toBe("too_many_requests");
    expect(refused.headers.get("retry-after")).toBe("300");
    expect(refused.headers.get("x-ratelimit-limit")).toBe("2");
    expect((await post("203.0.113.2")).status).toBe(200);
    expect((await post("2001:db8::1")).status).toBe(200);
  });

  it("count the addresses of one IPv6 network as one client", async () => {
    const app = startApp({ knobs: { AUTH: { max: 1 } } });
    await app.send("/anonymous", { method: "POST", peer: "2001:db8::1" });
    expect((await app.send("/anonymous", { method: "POST", peer: "2001:db8::2" })).status).toBe(429);
  });

  it("count scoped tokens one by one", async () => {
    const app = startApp({ knobs: { AUTHED: { burst: 1 } } });
    expect((await app.send("/mine", { headers: bearer("scoped-1") })).status).toBe(200);
    expect((await app.send("/mine", { headers: bearer("scoped-1") })).status).toBe(429);
    expect((await app.send("/mine", { headers: bearer("scoped-2") })).status).toBe(200);
  });

  it("apply to everything together", async () => {
    const app = startApp({ knobs: { GLOBAL: { burst: 1 } } });
    await app.send("/open");
    const refused = await app.send("/nope");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("x-frame-options")).toBe("DENY");
  });
});
