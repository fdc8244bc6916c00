import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MailTransport } from "../../src/domain/mail.ts";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";

/** Vaults `alpha` and `beta`; in alpha an admin, a member, agents of role proxy and member, and a vault token. */
describeOnEachEngine("proposals over the API", (openScratch) => {
  const tokens: Record<string, string> = {};
  const mails: Parameters<MailTransport["send"]>[0][] = [];
  let database: ScratchDatabase;
  let api: ApiServer;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database, {
      mailTransport: { send: async (mail) => void mails.push(mail) },
    });
    const owner = await api.registerOwner();
    const admin = await api.addUser("admin@example.com");
    const member = await api.addUser("member@example.com");
    const stranger = await api.addUser("stranger@example.com");
    await api.addVault(admin, "alpha");
    await api.addVault(admin, "beta");
    const users = { token: admin, body: { email: "member@example.com", role: "member" } };
    await api.expect(201, "POST", "/v1/vaults/alpha/users", users);
    const agents: Record<string, string> = {};
    for (const [name, role, vaults] of [
      ["ag-proxy", "proxy", ["alpha", "beta"]],
      ["ag-member", "member", ["alpha"]],
      ["ag-other", "proxy", ["beta"]],
    ] as const) {
      agents[name] = await api.addAgent(owner, name);
      for (const vault of vaults) {
        await api.expect(201, "POST", `/v1/vaults/${vault}/agents`, { token: admin, body: { name, role } });
      }
    }
    Object.assign(tokens, { owner, admin, member, stranger, ...agents, scoped: await api.mint(admin, "alpha") });
  });

  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  const alpha = { "x-vault": "alpha" };
  const call = (method: string, path: string, as: string, body?: unknown, headers: Record<string, string> = alpha) =>
    api.call(method, path, { token: tokens[as], headers, ...(body !== undefined && { body }) });
  const slot = (key: string, more: object = {}) => ({ action: "set", key, ...more });

  async function propose(body: object, as = "ag-proxy") {
    const answer = await call("POST", "/v1/proposals", as, body);
    if (answer.status !== 201) throw new Error(answer.text);
    const url = new URL(String(answer.body.approval_url));
    return { id: Number(answer.body.id), link: url.searchParams.get("token") ?? "", headers: answer.headers };
  }
  const approve = (id: number, as: string, body: object = {}) =>
    call("POST", `/v1/admin/proposals/${id}/approve`, as, { vault: "alpha", ...body });
  const reject = (id: number, as: string, body: object = {}) =>
    call("POST", `/v1/admin/proposals/${id}/reject`, as, { vault: "alpha", ...body });
  const statusOf = async (id: number) =>
    (await call("GET", `/v1/admin/proposals/${id}?vault=alpha`, "admin")).body.status;

  it("are decided by members, and by nobody else", async () => {
    const { id } = await propose({ credentials: [slot("WHO", { value: "v" })] });
    for (const [as, status] of [
      ["ag-proxy", 403],
      ["scoped", 403],
      ["owner", 403],
      ["stranger", 404],
      ["ag-other", 404],
    ] as const) {
      expect([as, (await approve(id, as)).status]).toEqual([as, status]);
      expect([as, (await reject(id, as)).status]).toEqual([as, status]);
    }
    expect((await api.call("POST", `/v1/admin/proposals/${id}/approve`, { body: { vault: "alpha" } })).status).toBe(
      401,
    );
    expect(await statusOf(id)).toBe("pending");
    expect((await approve(id, "member")).body).toEqual({ id, status: "applied" });
    expect(await approve(id, "admin")).toMatchObject({ status: 409, body: { code: "proposal_ended" } });
  });

  it("are not approved by the agent that made them, nor by a token that it minted for the purpose", async () => {
    const { id } = await propose({ credentials: [slot("SELF", { value: "v" })] }, "ag-member");
    expect(await approve(id, "ag-member")).toMatchObject({ status: 403, body: { code: "own_proposal" } });
    tokens.minted = await api.mint(tokens["ag-member"] ?? "", "alpha");
    const second = await propose({ credentials: [slot("SELF", { value: "v" })] }, "minted");
    expect(await approve(second.id, "ag-member")).toMatchObject({ status: 403, body: { code: "own_proposal" } });
    await reject(id, "member");
    await reject(second.id, "member");
  });

  it("of another vault are out of reach, whatever number and vault are combined", async () => {
    const { id } = await propose({ credentials: [slot("MINE", { value: "v" })] });
    expect((await call("GET", `/v1/proposals/${id}`, "ag-other", undefined, { "x-vault": "beta" })).status).toBe(404);
    expect((await call("GET", `/v1/proposals/${id}`, "ag-other")).status).toBe(403);
    expect((await call("GET", `/v1/admin/proposals/${id}?vault=alpha`, "ag-other")).status).toBe(404);
    expect((await call("POST", `/v1/admin/proposals/${id}/approve`, "admin", { vault: "beta" })).status).toBe(404);
    // A vault token keeps its vault, whatever header comes along.
    tokens.beta = await api.mint(tokens.admin ?? "", "beta");
    expect((await call("GET", `/v1/proposals/${id}`, "beta")).status).toBe(404);
    await reject(id, "admin");
  });

  it("show a value to nobody: not to the agent, not to reviewers, not behind the link", async () => {
    const { id, link } = await propose({
      services: [{ action: "set", name: "secret-svc", host: "s.example.com", auth: { type: "bearer", token: "HELD" } }],
      credentials: [slot("HELD", { value: "sk_held_secret" })],
    });
    const answers = [
      await call("GET", `/v1/proposals/${id}`, "ag-proxy"),
      await call("GET", "/v1/proposals", "ag-proxy"),
      await call("GET", `/v1/admin/proposals/${id}?vault=alpha`, "admin"),
      await call("GET", "/v1/admin/proposals?vault=alpha", "admin"),
      await api.call("GET", `/v1/proposals/approve-details?token=${link}&id=${id}`),
      await approve(id, "admin", { only: { services: [], credentials: ["NOT_THERE"] } }),
    ];
    for (const answer of answers) expect(answer.text).not.toContain("sk_held_secret");
    await reject(id, "admin");
  });

  describe("an approval link", () => {
    it("shows the proposal, says who may approve, and keeps the rest of the vault to members", async () => {
      const services = [{ action: "set", name: "linked", host: "l.example.com", auth: { type: "passthrough" } }];
      const { id, link, headers } = await propose({ services, user_message: "please" });
      expect(headers.get("cache-control")).toBe("no-store");
      const details = (as?: string) =>
        api.call("GET", `/v1/proposals/approve-details?token=${link}&id=${id}`, {
          ...(as && { headers: { cookie: `av_session=${tokens[as]}` } }),
        });
      const anonymous = (await details()).body;
      expect(anonymous).toMatchObject({ agent_name: "ag-proxy", authenticated: false, can_approve: false });
      expect(anonymous).not.toHaveProperty("consequences");
      expect(anonymous).not.toHaveProperty("requested_by");
      expect((await details("stranger")).body).toMatchObject({ authenticated: true, can_approve: false });
      expect((await details("stranger")).body).not.toHaveProperty("consequences");
      expect((await details("owner")).body).toMatchObject({ can_approve: false });
      expect((await details("ag-member")).body).toMatchObject({ authenticated: false, user_email: "" });
      const member = (await details("member")).body;
      expect(member).toMatchObject({ can_approve: true, user_email: "member@example.com" });
      expect(member.consequences).toMatchObject([{ kind: "service_added", host: "l.example.com" }]);
      await reject(id, "admin");
      expect((await details()).body).toMatchObject({ error: true, error_title: "Rejected" });
    });

    it("opens nothing else: not another proposal, not the API, not after a day", async () => {
      const { id, link } = await propose({ credentials: [slot("LINK", { value: "v" })] });
      const other = await propose({ credentials: [slot("LINK", { value: "v" })] });
      const details = (token: string, number: number | string) =>
        api.call("GET", `/v1/proposals/approve-details?token=${token}&id=${number}`);
      expect((await details(link, other.id)).status).toBe(400);
      expect((await details(link, "")).status).toBe(400);
      expect((await details("", id)).status).toBe(400);
      expect((await details(`${link}0`, id)).status).toBe(404);
      expect((await details(`av_appr_${"0".repeat(64)}`, id)).status).toBe(404);
      const asBearer = { headers: { authorization: `Bearer ${link}` }, body: { vault: "alpha" } };
      expect((await api.call("POST", `/v1/admin/proposals/${id}/approve`, asBearer)).status).toBe(401);
      const asCookie = { headers: { cookie: `av_session=${link}` }, body: { vault: "alpha" } };
      expect((await api.call("POST", `/v1/admin/proposals/${id}/approve`, asCookie)).status).toBe(401);
      expect((await details(link, id)).status).toBe(200);
      api.clock.advance(86_400_001);
      expect((await details(link, id)).status).toBe(410);
      // The proposal itself lives on, for whoever signs in.
      expect(await statusOf(id)).toBe("pending");
      await reject(id, "admin");
      await reject(other.id, "admin");
      // That of the beginning lived for a day.
      tokens.scoped = await api.mint(tokens.admin ?? "", "alpha");
    });
  });

  it.each([
    { because: "no JSON", body: "{", status: 400 },
    { because: "something after the value", body: '{"credentials":[]} x', status: 400 },
    { because: "a second value", body: '{"credentials":[]}{}', status: 400 },
    { because: "another type", body: '{"credentials":"TOK"}', status: 400 },
    { because: "a list of nothing", body: '{"credentials":[null]}', status: 400 },
    { because: "a number as message", body: '{"credentials":[{"action":"set","key":"A"}],"message":7}', status: 400 },
    { because: "a NUL in a text", body: '{"credentials":[{"action":"set","key":"A","value":"\\u0000"}]}', status: 400 },
    {
      because: "half a character",
      body: '{"credentials":[{"action":"set","key":"A"}],"message":"\\ud800"}',
      status: 400,
    },
    {
      because: "an endless message",
      body: JSON.stringify({ credentials: [slot("A")], message: "m".repeat(2001) }),
      status: 400,
    },
    { because: "more than a mebibyte", body: JSON.stringify({ message: "m".repeat(1024 * 1024) }), status: 413 },
    {
      because: "padding up to more than a mebibyte",
      body: `{"credentials":[]}${" ".repeat(1024 * 1024)}`,
      status: 413,
    },
    { because: "deep nesting", body: `{"services":${"[".repeat(20_000)}`, status: 400 },
    {
      because: "thousands of services",
      body: JSON.stringify({ services: Array(20_000).fill({ action: "delete" }) }),
      status: 400,
    },
    { because: "a wrong number", body: '{"credentials":[{"action":"set","key":"A"}],"supersedes":"1"}', status: 400 },
  ])("are refused: $because", async ({ body, status }) => {
    const headers = { authorization: `Bearer ${tokens["ag-proxy"]}`, "content-type": "application/json", ...alpha };
    const answer = await fetch(`http://127.0.0.1:${api.port}/v1/proposals`, { method: "POST", headers, body });
    expect(answer.status).toBe(status);
    expect(((await answer.json()) as { error: unknown }).error).toEqual(expect.any(String));
  });

  it("carry no escape sequence of an agent into an answer, nor of a reviewer to the agent", async () => {
    const hostile = "\u001b]0;owned\u0007\u001b[2J\u202etxt\r\nline";
    const { id } = await propose({
      credentials: [slot("ESC", { description: hostile })],
      message: hostile,
      user_message: hostile,
    });
    await reject(id, "admin", { reason: hostile });
    for (const as of ["admin", "ag-proxy"]) {
      const path = as === "admin" ? `/v1/admin/proposals/${id}?vault=alpha` : `/v1/proposals/${id}`;
      const { text } = await call("GET", path, as);
      // JSON would hide them as escapes, and a client would print them.
      expect(text).not.toMatch(/\\u001b|\\u0007|\\u202e|\\r|\u202e/);
      expect(text).toContain("owned");
    }
  });

  it("reach the people of the vault by mail, one message each, with nothing that could begin a header or a tag", async () => {
    mails.length = 0;
    const { id, link } = await propose({
      credentials: [slot("MAIL", { value: "sk_mail_secret" })],
      message: `Subject: x\r\nBcc: evil@example.com\n<script>${"ä".repeat(200)}`,
    });
    await expect.poll(() => mails.length).toBe(2);
    expect(mails.map(({ to }) => to)).toEqual(["admin@example.com", "member@example.com"]);
    const [mail] = mails;
    expect(mail?.subject).toBe(`New proposal (#${id}) in vault "alpha"`);
    expect(mail?.subject).not.toMatch(/\p{Cc}/u);
    expect(mail?.text).toContain("ag-proxy");
    const sent = /https?:\S+/.exec(mail?.text ?? "")?.[0] ?? "";
    expect(new URL(sent).searchParams.get("token")).toBe(link);
    expect(mail?.html).not.toMatch(/<(?:script|b)>/);
    expect(JSON.stringify(mails)).not.toContain("sk_mail_secret");
    await reject(id, "admin");
  });

  it("wait for the answer at the server, and hear of it at once", async () => {
    const { id } = await propose({ credentials: [slot("WAIT", { value: "v" })] });
    const waiting = [
      call("GET", `/v1/proposals/${id}?wait=45s`, "ag-proxy"),
      call("GET", `/v1/proposals/${id}?wait=45`, "scoped"),
      call("GET", `/v1/admin/proposals/${id}?vault=alpha&wait=45s`, "member"),
    ];
    await expect.poll(() => api.domain.proposalWaiting.count).toBe(3);
    await approve(id, "admin");
    for (const answer of await Promise.all(waiting)) expect(answer.body.status).toBe("applied");
  });

  it("do not wait for what has ended, for nonsense, or longer than asked", async () => {
    const { id } = await propose({ credentials: [slot("WAIT", { value: "v" })] });
    expect((await call("GET", `/v1/proposals/${id}?wait=200ms`, "ag-proxy")).body.status).toBe("pending");
    expect((await call("GET", `/v1/proposals/${id}?wait=soon`, "ag-proxy")).status).toBe(400);
    expect((await call("GET", "/v1/proposals/99999?wait=45s", "ag-proxy")).status).toBe(404);
    await reject(id, "admin");
    expect((await call("GET", `/v1/proposals/${id}?wait=45s`, "ag-proxy")).body.status).toBe("rejected");
  });

  it("tell nothing to a token that was revoked while it waited", async () => {
    const { id } = await propose({ credentials: [slot("WAIT", { value: "v" })] });
    tokens.brief = await api.mint(tokens.admin ?? "", "alpha");
    const waiting = call("GET", `/v1/proposals/${id}?wait=45s`, "brief");
    await expect.poll(() => api.domain.proposalWaiting.count).toBe(1);
    const { sessions } = (await call("GET", "/v1/sessions?vault=alpha", "admin")).body;
    for (const session of sessions as { id: string }[]) {
      await call("DELETE", `/v1/sessions/${session.id}?vault=alpha`, "admin");
    }
    await reject(id, "admin");
    expect((await waiting).status).toBe(401);
    tokens.scoped = await api.mint(tokens.admin ?? "", "alpha");
  });

  it("do not take the places of other requests while they wait", async () => {
    await using narrow = await openScratch();
    await using server = await ApiServer.start(narrow, {
      environment: { AGENT_VAULT_RATELIMIT_PROFILE: "default", AGENT_VAULT_RATELIMIT_GLOBAL_CONCURRENCY: "1" },
    });
    const owner = await server.registerOwner();
    const token = await server.mint(owner, "default");
    const { id } = await server.expect(201, "POST", "/v1/proposals", { token, body: { credentials: [slot("ONE")] } });
    const waiting = server.call("GET", `/v1/proposals/${id}?wait=45s`, { token });
    await expect.poll(() => server.domain.proposalWaiting.count).toBe(1);
    await server.expect(200, "POST", `/v1/admin/proposals/${id}/reject`, { token: owner, body: {} });
    expect((await waiting).body.status).toBe("rejected");
  });

  it("tell agents who decided, but no address of a person", async () => {
    const { id } = await propose({ credentials: [slot("WHO", { value: "v" })] }, "scoped");
    await reject(id, "member");
    const { text, body } = await call("GET", `/v1/proposals/${id}`, "ag-proxy");
    expect(body).toMatchObject({ reviewed_by: { type: "user" }, proposed_by: { type: "user", via: "vault_token" } });
    expect(text).not.toContain("@example.com");
    const review = await call("GET", `/v1/admin/proposals/${id}?vault=alpha`, "admin");
    expect(review.body.reviewed_by).toMatchObject({ name: "member@example.com" });
  });

  it("with credentials are refused where an external store owns them, and services alone are not", async () => {
    const now = new Date().toISOString();
    const [{ id: vaultId } = { id: "" }] = await database.db
      .selectFrom("vaults")
      .select("id")
      .where("name", "=", "beta")
      .execute();
    const before = await call(
      "POST",
      "/v1/proposals",
      "ag-other",
      { credentials: [slot("EXT", { value: "v" })] },
      { "x-vault": "beta" },
    );
    await database.db
      .insertInto("credential_stores")
      .values({
        vault_id: vaultId,
        kind: "infisical",
        configuration: "{}",
        poll_interval_seconds: 60,
        created_at: now,
        updated_at: now,
      })
      .execute();
    const beta = { "x-vault": "beta" };
    expect(await call("POST", "/v1/proposals", "ag-other", { credentials: [slot("EXT")] }, beta)).toMatchObject({
      status: 409,
      body: { code: "external_credential_store" },
    });
    const services = [{ action: "set", name: "open", host: "o.example.com", auth: { type: "passthrough" } }];
    expect((await call("POST", "/v1/proposals", "ag-other", { services }, beta)).status).toBe(201);
    const late = await call("POST", `/v1/admin/proposals/${before.body.id}/approve`, "admin", { vault: "beta" });
    expect(late).toMatchObject({ status: 409, body: { code: "external_credential_store" } });
  });

  it("do not hold a place for those who hung up", async () => {
    const { id } = await propose({ credentials: [slot("WAIT", { value: "v" })] });
    const gone = new AbortController();
    const headers = { authorization: `Bearer ${tokens["ag-proxy"]}`, ...alpha };
    const waiting = fetch(`http://127.0.0.1:${api.port}/v1/proposals/${id}?wait=45s`, { headers, signal: gone.signal });
    await expect.poll(() => api.domain.proposalWaiting.count).toBe(1);
    gone.abort();
    await expect(waiting).rejects.toThrow();
    await expect.poll(() => api.domain.proposalWaiting.count).toBe(0);
    await reject(id, "admin");
  });

  it("come page by page for those who ask, and all at once for those who do not", async () => {
    const made: number[] = [];
    for (let i = 0; i < 3; i++) made.unshift((await propose({ credentials: [slot(`PAGE${i}`, { value: "v" })] })).id);
    const page = async (query: string) => (await call("GET", `/v1/proposals?status=pending${query}`, "ag-proxy")).body;
    const ids = (body: Record<string, unknown>) => (body.proposals as { id: number }[]).map(({ id }) => id);
    expect(ids(await page(""))).toEqual(made);
    const first = await page("&limit=2");
    expect(ids(first)).toEqual(made.slice(0, 2));
    const second = await page(`&limit=2&before=${first.next_before}`);
    expect(ids(second)).toEqual(made.slice(2));
    expect(second).not.toHaveProperty("next_before");
    expect((await call("GET", "/v1/proposals?limit=0", "ag-proxy")).status).toBe(400);
    for (const id of made) await reject(id, "admin");
  });

  it("warn the reviewer when an agent wants a stored key at a host of its own", async () => {
    await call("POST", "/v1/credentials", "admin", { vault: "alpha", credentials: { STRIPE_KEY: "sk_live" } });
    const { id } = await propose({
      services: [
        { action: "set", name: "metrics", host: "m.evil.example", auth: { type: "bearer", token: "STRIPE_KEY" } },
      ],
      message: "harmless metrics",
    });
    const { body } = await call("GET", `/v1/admin/proposals/${id}?vault=alpha`, "admin");
    expect(body.consequences).toContainEqual(
      expect.objectContaining({
        kind: "credential_reaches_new_host",
        severity: "warning",
        credentials: ["STRIPE_KEY"],
      }),
    );
    await reject(id, "admin");
  });

  it("are approved once by whoever of many is first, with the others told so", async () => {
    const { id } = await propose({ credentials: [slot("RACE", { value: "v" })] });
    const answers = await Promise.all([
      ...Array.from({ length: 5 }, () => approve(id, "admin")),
      ...Array.from({ length: 3 }, () => reject(id, "member")),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(409)]);
  });

  it("have a webhook that only admins of the vault see and set", async () => {
    const path = "/v1/vaults/alpha/proposal-webhook";
    for (const [as, status] of [
      ["member", 403],
      ["ag-proxy", 403],
      ["scoped", 403],
      ["owner", 403],
      ["stranger", 404],
    ] as const) {
      for (const method of ["GET", "PUT", "DELETE"]) {
        const body = method === "PUT" ? { url: "https://hooks.example.com/x" } : undefined;
        expect([as, method, (await call(method, path, as, body)).status]).toEqual([as, method, status]);
      }
    }
    expect((await call("GET", path, "admin")).status).toBe(404);
  });
});
