import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, password, type ScratchDatabase } from "../support/api-server.ts";

describeOnEachEngine("accounts over the API", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let owner: string;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    owner = await api.registerOwner();
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  const me = (token: string) => api.call("GET", "/v1/auth/me", { token });
  const register = (email: string, secret = password) =>
    api.call("POST", "/v1/auth/register", { body: { email, password: secret } });

  it("register everybody else with one answer, whether or not the address is known", async () => {
    await register("known@example.com");
    const answers = [
      await register("fresh@example.com"),
      await register("owner@example.com"),
      await register("known@example.com", "another-password"),
      await register("known@example.com"),
      await register("known@example.com"),
      await register("known@example.com"),
    ];
    const shapes = answers.map(({ status, body }) => [status, { ...body, email: "" }]);
    for (const shape of shapes) expect(shape).toEqual(shapes[0]);
    // The first password stays: a second registration must not take an account over.
    const code = api.codeFor("known@example.com");
    await api.expect(200, "POST", "/v1/auth/verify", { body: { email: "Known@Example.com ", code } });
    await api.login("known@example.com");
    const other = { email: "known@example.com", password: "another-password" };
    expect((await api.call("POST", "/v1/auth/login", { body: other })).status).toBe(401);
  });

  it.each(["register", "verify", "resend-verification", "forgot-password", "reset-password", "login", "logout"])(
    "let no other site %s for a browser",
    async (path) => {
      const body = { email: "owner@example.com", password, code: "000000", new_password: password };
      const forged = await api.call("POST", `/v1/auth/${path}`, { body, headers: { "sec-fetch-site": "cross-site" } });
      expect([forged.status, forged.body.code]).toEqual([403, "cross_origin"]);
    },
  );

  it("tell an unknown address, a wrong password and an unverified account by nothing", async () => {
    await register("unverified@example.com");
    const answers = await Promise.all([
      api.call("POST", "/v1/auth/login", { body: { email: "nobody@example.com", password } }),
      api.call("POST", "/v1/auth/login", { body: { email: "owner@example.com", password: "wrong-password" } }),
      api.call("POST", "/v1/auth/login", { body: { email: "unverified@example.com", password } }),
    ]);
    for (const { status, text } of answers) expect([status, text]).toEqual([401, answers[0]?.text]);
  });

  it("send resets and verifications with one answer, and a code only to whom it concerns", async () => {
    const before = api.output.length;
    const forgot = await api.call("POST", "/v1/auth/forgot-password", { body: { email: "nobody@example.com" } });
    const resend = await api.call("POST", "/v1/auth/resend-verification", { body: { email: "owner@example.com" } });
    expect(api.output.length).toBe(before);
    expect(await api.call("POST", "/v1/auth/forgot-password", { body: { email: "owner@example.com" } })).toMatchObject({
      status: 200,
      text: forgot.text,
    });
    expect(resend.status).toBe(200);
    expect(api.output.length).toBe(before + 1);
  });

  it("store no code, password or token as it is", async () => {
    const email = "stored@example.com";
    await register(email);
    const code = api.codeFor(email);
    const rows = JSON.stringify([
      await database.db.selectFrom("one_time_codes").selectAll().execute(),
      await database.db.selectFrom("users").selectAll().execute(),
      await database.db.selectFrom("sessions").selectAll().execute(),
    ]);
    expect(code).toMatch(/^\d{6}$/);
    expect(rows).not.toContain(`"${code}"`);
    expect(rows).not.toContain(password);
    expect(rows).not.toContain(owner);
  });

  it("have the password of whoever read the mail, not of a stranger who registered the address before", async () => {
    const email = "early@example.com";
    const register = (secret: string) => api.call("POST", "/v1/auth/register", { body: { email, password: secret } });
    await register("strangers-password");
    await register("my-own-password");
    const code = api.codeFor(email);
    await register("strangers-password-2");
    await api.expect(200, "POST", "/v1/auth/verify", { body: { email, code } });
    const login = async (secret: string) =>
      (await api.call("POST", "/v1/auth/login", { body: { email, password: secret } })).status;
    expect(await login("my-own-password")).toBe(200);
    expect([await login("strangers-password"), await login("strangers-password-2")]).toEqual([401, 401]);
    // Nor does a code that is left over bring the stranger's password back.
    const left = await api.call("POST", "/v1/auth/verify", { body: { email, code: api.codeFor(email) } });
    expect(left.status).toBe(400);
    expect(await login("my-own-password")).toBe(200);
  });

  it("end every session and every minted token when the password is reset", async () => {
    const email = "reset@example.com";
    const session = await api.addUser(email);
    await api.addVault(session, "reset-vault");
    const scoped = await api.mint(session, "reset-vault");
    await api.call("POST", "/v1/auth/forgot-password", { body: { email } });
    const body = { email, code: api.codeFor(email), new_password: "brand-new-pass" };
    const reset = await api.call("POST", "/v1/auth/reset-password", { body });
    expect(reset.body).toMatchObject({ authenticated: true });
    expect(reset.body.token).toBeUndefined();
    expect(reset.headers.get("set-cookie")).toContain("av_session=av_sess_");
    expect(reset.headers.get("cache-control")).toBe("no-store");
    expect((await me(session)).status).toBe(401);
    expect((await me(scoped)).status).toBe(401);
    expect((await api.call("POST", "/v1/auth/reset-password", { body })).status).toBe(400);
  });

  it("carry the device label over a password change, which ends the session that asked", async () => {
    const email = "change@example.com";
    await api.addUser(email);
    const login = await api.expect(200, "POST", "/v1/auth/login", {
      body: { email, password, device_label: "  lap\u0007top " },
    });
    const body = { current_password: password, new_password: "brand-new-pass" };
    const changed = await api.expect(200, "POST", "/v1/auth/change-password", { token: String(login.token), body });
    expect((await me(String(login.token))).status).toBe(401);
    const list = await api.expect(200, "GET", "/v1/auth/sessions", { token: String(changed.token) });
    expect(list.sessions).toMatchObject([{ device_label: "laptop", current: true }]);
  });

  it("end login sessions by logout, and nothing else", async () => {
    const agent = await api.addAgent(owner, "keeps-its-token");
    const session = await api.login("owner@example.com");
    for (const token of [agent, session, "av_sess_unknown"]) {
      const answer = await api.call("POST", "/v1/auth/logout", { token });
      expect([answer.status, answer.headers.get("set-cookie")]).toEqual([
        200,
        "av_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict",
      ]);
    }
    expect((await me(session)).status).toBe(401);
    expect((await me(agent)).status).toBe(200);
  });

  it("end a login session that was idle for 30 days, and slide one that was used", async () => {
    await using other = await openScratch();
    await using server = await ApiServer.start(other);
    const token = await server.registerOwner();
    const ask = () => server.call("GET", "/v1/auth/me", { token });
    const day = 86_400_000;
    for (let month = 0; month < 3; month++) {
      server.clock.advance(29 * day);
      expect((await ask()).status).toBe(200);
      // The use is noted in the background.
      await expect
        .poll(async () => {
          const row = await other.db.selectFrom("sessions").select("last_used_at").executeTakeFirstOrThrow();
          return Date.parse(row.last_used_at ?? "");
        })
        .toBe(server.clock.now());
    }
    server.clock.advance(31 * day);
    expect((await ask()).status).toBe(401);
  });

  it("list and revoke one's own sessions, not those of others", async () => {
    const ada = await api.addUser("ada@example.com");
    const second = await api.login("ada@example.com");
    const list = await api.expect(200, "GET", "/v1/auth/sessions", { token: second });
    const sessions = list.sessions as { id: string; current: boolean }[];
    expect(sessions.filter(({ current }) => current)).toHaveLength(1);
    const other = sessions.find(({ current }) => !current)?.id;
    expect((await api.call("DELETE", `/v1/auth/sessions/${other}`, { token: owner })).status).toBe(404);
    await api.expect(200, "DELETE", `/v1/auth/sessions/${other}`, { token: second });
    expect((await me(ada)).status).toBe(401);
  });

  it("are deleted by their person with all that was theirs, but never an owner's", async () => {
    const email = "leaver@example.com";
    const leaver = await api.addUser(email);
    await api.addVault(leaver, "left-behind");
    const scoped = await api.mint(leaver, "left-behind");
    expect((await api.call("DELETE", "/v1/auth/account", { token: owner })).status).toBe(409);
    await api.expect(200, "DELETE", "/v1/auth/account", { token: leaver });
    expect((await me(leaver)).status).toBe(401);
    expect((await me(scoped)).status).toBe(401);
    expect((await api.call("POST", "/v1/auth/login", { body: { email, password } })).status).toBe(401);
  });

  it("keep to the allowed domains and to invitations where an owner says so", async () => {
    const put = (body: object) => api.expect(200, "PUT", "/v1/admin/settings", { token: owner, body });
    await put({ allowed_email_domains: [" Example.org ", "example.org", ""] });
    expect((await register("x@example.com")).status).toBe(403);
    expect((await register("x@example.org")).status).toBe(201);
    await put({ allowed_email_domains: [], invite_only: true });
    expect((await register("y@example.com")).status).toBe(403);
    expect((await api.expect(200, "GET", "/v1/status")).invite_only).toBe(true);
    await put({ invite_only: false });
    const half = { invite_only: true, allowed_email_domains: ["not a domain"] };
    expect((await api.call("PUT", "/v1/admin/settings", { token: owner, body: half })).status).toBe(400);
    expect((await api.expect(200, "GET", "/v1/admin/settings", { token: owner })).invite_only).toBe(false);
  });
});
