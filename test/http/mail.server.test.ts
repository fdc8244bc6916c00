import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiServer, openScratchDatabase, password, type ScratchDatabase } from "../support/api-server.ts";
import { headerOf, partsOf, SmtpServer, smtpTransport } from "../support/smtp-server.ts";

describe("a server with mail", () => {
  let database: ScratchDatabase;
  let smtp: SmtpServer;
  let api: ApiServer;
  let owner: string;

  beforeAll(async () => {
    database = await openScratchDatabase();
    smtp = await SmtpServer.start({ refuses: (recipient) => recipient.startsWith("bounces") });
    api = await ApiServer.start(database, {
      mailTransport: smtpTransport(smtp),
      environment: { AGENT_VAULT_ADDR: "https://vault.example.com" },
    });
    owner = await api.registerOwner();
  });
  afterAll(async () => {
    await api.close();
    await smtp[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const codeIn = (text: string) => /(?<!\d)\d{6}(?!\d)/.exec(text)?.[0] ?? "";
  const post = (path: string, body: object, headers: Record<string, string> = {}) =>
    api.call("POST", path, { body, headers });

  it("verifies a registration with the code that it mails, and shows it nowhere else", async () => {
    const email = "new@example.com";
    const registered = await post("/v1/auth/register", { email, password });
    expect(registered.body).toMatchObject({ requires_verification: true, email_sent: true });
    const mail = await smtp.mailTo(email);
    const code = codeIn(partsOf(mail).text);
    expect(codeIn(partsOf(mail).html)).toBe(code);
    expect(api.output).toEqual([]);
    expect(registered.text).not.toContain(code);
    expect((await post("/v1/auth/verify", { email, code })).status).toBe(200);
  });

  it("resets a password with the code that it mails", async () => {
    const email = "forgot@example.com";
    await api.addUser(email);
    expect((await post("/v1/auth/forgot-password", { email })).body.email_sent).toBe(true);
    const code = codeIn(partsOf(await smtp.mailTo(email)).text);
    const reset = await post("/v1/auth/reset-password", { email, code, new_password: "brand-new-pass" });
    expect(reset.body).toMatchObject({ authenticated: true });
  });

  it("says the same and mails nothing when there is nobody to mail to", async () => {
    const before = smtp.received.length;
    const known = await post("/v1/auth/resend-verification", { email: "owner@example.com" });
    const unknown = await post("/v1/auth/resend-verification", { email: "nobody@example.com" });
    expect([known.status, known.text]).toEqual([unknown.status, unknown.text]);
    // Whatever was to be sent would be on its way before this one.
    await api.expect(200, "POST", "/v1/admin/email/test", { token: owner });
    await smtp.mailTo("owner@example.com");
    expect(smtp.received.slice(before).flatMap(({ to }) => to)).toEqual(["owner@example.com"]);
  });

  it.each([
    [{ "x-forwarded-host": "evil.example" }],
    [{ "x-forwarded-host": "evil.example", "x-forwarded-proto": "http", forwarded: "host=evil.example" }],
    [{ "x-original-host": "evil.example", "x-forwarded-server": "evil.example" }],
  ])("leads to the configured address whatever a request says: %j", async (headers) => {
    const email = `poisoned-${crypto.randomUUID()}@example.com`;
    await api.expect(201, "POST", "/v1/users/invites", { token: owner, body: { email }, headers });
    const { raw } = await smtp.mailTo(email);
    expect(raw).toContain("https://vault.example.com/invite/av_uinv_");
    expect(raw).not.toContain("evil.example");
  });

  it("tells the inviter what went wrong with the mail, and gives the link", async () => {
    const body = { email: "bounces@example.com" };
    const answer = await api.expect(201, "POST", "/v1/users/invites", { token: owner, body });
    expect(answer).toMatchObject({ email_sent: false, email_error: expect.stringContaining("no such mailbox") });
    expect(answer.invite_link).toContain("https://vault.example.com/invite/");
  });

  it("logs a code that cannot be mailed nowhere", async () => {
    const email = "bounces-too@example.com";
    await post("/v1/auth/register", { email, password });
    const { body } = await post("/v1/auth/resend-verification", { email });
    expect(body.email_sent).toBe(true);
    await api.domain.mail.close();
    expect(api.output).toEqual([]);
  });

  it("sends a test message to the owner or to whom they name, and to nobody for others", async () => {
    const test = (token: string, body?: object) => api.call("POST", "/v1/admin/email/test", { token, body });
    expect((await test(owner)).body).toMatchObject({ to: "owner@example.com" });
    expect((await test(owner, { to: " Other@Example.com " })).body).toMatchObject({ to: "other@example.com" });
    expect(headerOf(await smtp.mailTo("other@example.com"), "subject")).toBe("Test message");
    expect((await test(owner, { to: "bounces@example.com" })).status).toBe(502);
    expect((await test(owner, { to: "x@example.com\r\nBcc: eve@example.com" })).status).toBe(400);
    const agent = await api.addAgent(owner, "owner-agent", { role: "owner" });
    expect((await test(agent)).status).toBe(400);
    expect((await test(await api.addUser("member@example.com"))).status).toBe(403);
    expect((await api.expect(200, "GET", "/v1/admin/settings", { token: owner })).smtp_configured).toBe(true);
  });

  describe("of every kind, with hostile words in it,", () => {
    const hostile = "Needs it\r\nBcc: eve@evil.example\r\n\r\n.\r\nMAIL FROM:<eve@evil.example>\r\n<script>x</script>";
    const known = [
      "from",
      "to",
      "subject",
      "message-id",
      "date",
      "mime-version",
      "content-type",
      "auto-submitted",
      "x-auto-response-suppress",
    ];

    /** One message per recipient, who sees no other, with the head that we wrote. */
    const isOurs = (mail: Awaited<ReturnType<SmtpServer["mailTo"]>>, recipient: string) => {
      const [head = ""] = mail.raw.split("\r\n\r\n");
      const names = [...head.matchAll(/^([^\s:]+):/gm)].map(([, name]) => name?.toLowerCase() ?? "");
      expect(names.filter((name) => !known.includes(name))).toEqual([]);
      expect(mail).toMatchObject({ from: "vault@example.com", to: [recipient] });
      expect(headerOf(mail, "to")).toBe(recipient);
      expect(headerOf(mail, "subject")).toMatch(/^[\x20-\x7e]{1,200}$/);
      const { text, html } = partsOf(mail);
      expect(text.split("\n").filter((line) => /^(Bcc:|MAIL FROM)/.test(line))).toEqual([]);
      expect(html).not.toMatch(/<script/i);
    };

    it("goes to the one it is for and says what we wrote", async () => {
      const count = smtp.received.length;
      const inviter = "o'hara+x=%0d%0abcc@example.com";
      const token = await api.addUser(inviter, "owner");
      const invited = "invited&x@example.com";
      const invite = { token, body: { email: invited } };
      await api.expect(201, "POST", "/v1/users/invites", invite);
      isOurs(await smtp.mailTo(invited), invited);
      expect(partsOf(await smtp.mailTo(invited)).text).toContain(inviter);
      expect(partsOf(await smtp.mailTo(invited)).html).toContain("o&#39;hara+x=%0d%0abcc@example.com");

      const fresh = "x%0d%0abcc%3aeve@example.com";
      await post("/v1/auth/register", { email: fresh, password });
      isOurs(await smtp.mailTo(fresh), fresh);
      await api.call("POST", "/v1/auth/verify", {
        body: { email: fresh, code: codeIn(partsOf(await smtp.mailTo(fresh)).text) },
      });
      const before = smtp.received.length;
      await post("/v1/auth/forgot-password", { email: fresh });
      await expect.poll(() => smtp.received.length).toBeGreaterThan(before);
      isOurs(await smtp.mailTo(fresh), fresh);

      const scoped = await api.mint(owner, "default");
      const proposal = { services: [], credentials: [{ action: "set", key: "NEEDED", description: hostile }] };
      await api.expect(201, "POST", "/v1/proposals", {
        token: scoped,
        body: { ...proposal, message: hostile, user_message: hostile },
      });
      await expect
        .poll(() => smtp.received.filter((mail) => /proposal/i.test(headerOf(mail, "subject") ?? "")).length)
        .toBeGreaterThan(0);
      const notice = smtp.received.findLast((mail) => /proposal/i.test(headerOf(mail, "subject") ?? ""));
      if (notice === undefined) throw new Error("no notice");
      isOurs(notice, "owner@example.com");

      await api.expect(200, "POST", "/v1/admin/email/test", { token, body: { to: "other@example.com" } });
      isOurs(await smtp.mailTo("other@example.com"), "other@example.com");
      expect(smtp.received.slice(count).flatMap(({ to }) => to)).not.toContain("eve@evil.example");
    });

    it.each([
      "a@example.com\r\nBcc: eve@evil.example",
      "a@example.com\nBcc: eve@evil.example",
      "a@example.com, eve@evil.example",
      "a@example.com;eve@evil.example",
      "<eve@evil.example> a@example.com",
      "eve@evil.example>a@example.com",
      "a@example.com\u2028Bcc: eve@evil.example",
      '"a\\r\\nBcc: eve"@example.com',
    ])("is not sent to an address that is more than one: %j", async (email) => {
      const count = smtp.received.length;
      await post("/v1/auth/register", { email, password });
      await post("/v1/auth/forgot-password", { email });
      await post("/v1/auth/resend-verification", { email });
      expect((await api.call("POST", "/v1/users/invites", { token: owner, body: { email } })).status).toBe(400);
      expect((await api.call("POST", "/v1/admin/email/test", { token: owner, body: { to: email } })).status).toBe(400);
      // Whatever was to be sent would be on its way before this one.
      await api.expect(200, "POST", "/v1/admin/email/test", { token: owner, body: { to: "last@example.com" } });
      expect(smtp.received.slice(count).flatMap(({ to }) => to)).toEqual(["last@example.com"]);
    });
  });

  it("lets what is on its way arrive before it stops", async () => {
    const email = "last-minute@example.com";
    await post("/v1/auth/register", { email, password });
    await api.domain.mail.close();
    expect(smtp.received.some(({ to }) => to.includes(email))).toBe(true);
  });
});

it("answers before it mails: a mail server that takes its time tells nobody whether there is an account", async () => {
  await using database = await openScratchDatabase();
  await using smtp = await SmtpServer.start({ isMute: true });
  // Whoever waited for it would wait longer than this test does.
  const mailTransport = smtpTransport(smtp, { timeoutMs: 120_000 });
  await using api = await ApiServer.start(database, { mailTransport });
  await api.registerOwner();
  const ask = async (path: string, email: string) => {
    const { status, text } = await api.call("POST", `/v1/auth/${path}`, { body: { email, password } });
    return [status, text.replaceAll(email, "*")];
  };
  for (const [path, known] of [
    ["register", "new@example.com"],
    ["resend-verification", "new@example.com"],
    ["forgot-password", "owner@example.com"],
  ] as const) {
    const connections = smtp.connections;
    const answer = await ask(path, known);
    await expect.poll(() => smtp.connections).toBeGreaterThan(connections);
    expect([path, await ask(path, path === "register" ? "owner@example.com" : "nobody@example.com")]).toEqual([
      path,
      answer,
    ]);
  }
  expect(smtp.received).toEqual([]);
  await smtp[Symbol.asyncDispose]();
});

describe("a server without mail", () => {
  it("refuses the test message before it looks at the recipient", async () => {
    await using database = await openScratchDatabase();
    await using api = await ApiServer.start(database);
    const token = await api.registerOwner();
    const answer = await api.call("POST", "/v1/admin/email/test", { token, body: { to: "nonsense" } });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: "smtp_not_configured" });
  });
});
