import { PassThrough } from "node:stream";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { createLogger } from "../../src/log.ts";
import { type Answer, ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";
import { OAuthProvider } from "../support/oauth-provider.ts";

const baseUrl = "https://vault.example.com";
/** What a sibling subdomain can set: the same value under a name without the prefix. */
const planted = (cookie: string) => (cookie.split(";")[0] ?? "").replace("__Host-", "");
const mask = "••••••••";
/** What a browser sends with a navigation that comes back from a provider. */
const browser = {
  accept: "text/html,application/xhtml+xml",
  "user-agent": "Mozilla/5.0",
  "sec-fetch-site": "cross-site",
  "sec-fetch-mode": "navigate",
};

describeOnEachEngine("OAuth credentials over the wire", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let provider: OAuthProvider;
  const tokens: Record<string, string> = {};
  /** Everything that the server logged. */
  let logged = "";
  let keys = 0;
  let key = "";

  beforeAll(async () => {
    database = await openScratch();
    provider = await OAuthProvider.start();
    const stream = new PassThrough();
    stream.on("data", (chunk: Buffer) => {
      logged += chunk.toString();
    });
    api = await ApiServer.start(database, {
      environment: { AGENT_VAULT_ADDR: baseUrl },
      outbound: provider.outbound(),
      log: createLogger({ level: "debug", format: "json", stream }),
    });
    tokens.owner = await api.registerOwner();
    tokens.admin = await api.addUser("admin@example.com");
    await api.addVault(tokens.admin, "alpha");
    tokens.member = await api.addUser("member@example.com");
    const body = { email: "member@example.com", role: "member" };
    await api.expect(201, "POST", "/v1/vaults/alpha/users", { token: tokens.admin, body });
    tokens.stranger = await api.addUser("stranger@example.com");
    tokens.scoped = await api.mint(tokens.admin, "alpha");
  });

  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
    await provider[Symbol.asyncDispose]();
  });

  beforeEach(() => {
    keys += 1;
    key = `TOKEN_${keys}`;
    provider.misbehave = undefined;
    provider.extra = {};
    provider.expiresInSeconds = 3600;
    provider.tokenRequests.splice(0);
  });

  const settings = () => ({
    vault: "alpha",
    key,
    authorization_url: provider.authorizationUrl,
    token_url: provider.tokenUrl,
    client_id: provider.clientId,
    client_secret: provider.clientSecret,
    scopes: "read,write",
    scope_separator: ",",
  });
  const post = (path: string, body: object, token = tokens.member, headers: Record<string, string> = {}) =>
    api.call("POST", `/v1/credentials/oauth/${path}`, { token, body, headers });
  const connect = async (more: object = {}, token = tokens.member) =>
    String(
      (await api.expect(200, "POST", "/v1/credentials/oauth/connect", { token, body: { ...settings(), ...more } }))
        .authorization_url,
    );
  const status = (token = tokens.member) =>
    api.call("GET", `/v1/credentials/oauth/status?vault=alpha&key=${key}`, { token });
  const entry = async () => {
    const { body } = await api.call("GET", "/v1/credentials?vault=alpha", { token: tokens.member });
    return (body.credentials as Record<string, unknown>[]).find((one) => one.key === key) ?? {};
  };
  const revealed = async () => {
    const path = `/v1/credentials?vault=alpha&reveal=true&key=${key}`;
    const { body } = await api.call("GET", path, { token: tokens.member });
    return (body.credentials as { value?: string }[])[0]?.value;
  };
  /** The way back from the provider. */
  const comeBack = (url: URL | string, headers: Record<string, string> = {}) => {
    const { pathname, search } = new URL(url);
    return api.call("GET", pathname + search, { headers });
  };
  const outcome = (answer: Answer): Record<string, string> => {
    const location = new URL(answer.headers.get("location") ?? "http://nowhere");
    return { at: location.origin + location.pathname, ...Object.fromEntries(location.searchParams) };
  };

  it("are connected with PKCE, and used with the secret and the verifier that the provider expects", async () => {
    const url = await connect();
    const { searchParams } = new URL(url);
    expect(Object.fromEntries(searchParams)).toEqual({
      client_id: "client:1",
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: "S256",
      redirect_uri: `${baseUrl}/v1/oauth/callback`,
      response_type: "code",
      scope: "read,write",
      state: expect.stringMatching(/^av_oast_[0-9a-f]{64}$/),
      tenant: "a",
    });
    expect((await status()).body).toEqual({ connected: false });

    const back = await comeBack(provider.consent(url));
    expect(back.status).toBe(302);
    expect(outcome(back)).toEqual({ at: `${baseUrl}/oauth/complete`, status: "success", vault: "alpha", key });
    expect((await status()).body).toEqual({ connected: true, connected_at: expect.stringMatching(/^20.*Z$/) });
    expect(provider.accepts((await revealed()) ?? "")).toBe(true);
    expect(await entry()).toMatchObject({
      key,
      type: "oauth",
      authorization_url: provider.authorizationUrl,
      token_url: provider.tokenUrl,
      client_id: "client:1",
      scopes: "read,write",
      token_auth_method: "client_secret_post",
      client_secret: mask,
      access_token: mask,
      refresh_token: mask,
    });
  });

  it.each([
    { name: "basic", more: { token_auth_method: "client_secret_basic" }, basic: true },
    { name: "without PKCE", more: { disable_pkce: true }, basic: false },
  ])("are connected $name", async ({ more, basic }) => {
    await comeBack(provider.consent(await connect(more)));
    expect((await status()).body.connected).toBe(true);
    expect(provider.tokenRequests[0]?.form.has("client_secret")).toBe(!basic);
    expect(provider.tokenRequests[0]?.form.get("code_verifier")).toMatch(/^[\w-]{43}$/);
  });

  it.each([
    { name: "Slack's token of a person", answer: { authed_user: { access_token: "nested" } }, token: "nested" },
    { name: "an end as text", answer: { access_token: "t", expires_in: "60" }, token: "t" },
    { name: "no end", answer: { access_token: "t", expires_in: 0 }, token: "t" },
    { name: "a huge end", answer: { access_token: "t", expires_in: 1e300 }, token: "t" },
  ])("take $name", async ({ answer, token }) => {
    provider.misbehave = (_request, response) => {
      response.end(JSON.stringify(answer));
      return true;
    };
    await comeBack(provider.consent(await connect()));
    expect(await revealed()).toBe(token);
  });

  it.each([
    {
      name: "GitHub's error with 200",
      status: 200,
      body: '{"error":"bad_verification_code"}',
      says: "bad_verification_code",
    },
    { name: "Slack's ok:false", status: 200, body: '{"ok":false,"error":"invalid_code"}', says: "invalid_code" },
    { name: "a server error", status: 500, body: "leak-9", says: "status 500" },
    { name: "malformed JSON", status: 200, body: '{"access_token":"leak-9"', says: "not JSON" },
    { name: "no token", status: 200, body: '{"token":"leak-9"}', says: "no access token" },
    { name: "a token with a line break", status: 200, body: '{"access_token":"leak-9\\r\\nX: y"}', says: "characters" },
    { name: "an error code of its own", status: 400, body: '{"error":"leak-9"}', says: "status 400" },
    {
      name: "a huge body",
      status: 200,
      body: `{"access_token":"leak-9","x":"${"x".repeat(300_000)}"}`,
      says: "more than is taken",
    },
    { name: "a redirect", status: 307, body: "", says: "redirect" },
  ])("refuse $name, and repeat nothing that the provider wrote", async ({ status: code, body, says }) => {
    let redirected = 0;
    provider.misbehave = ({ path }, response) => {
      if (path !== "/token") redirected += 1;
      response.writeHead(code, { location: `${provider.tokenUrl}/elsewhere` });
      response.end(body);
      return true;
    };
    const answer = await comeBack(provider.consent(await connect()));
    expect(outcome(answer)).toMatchObject({
      status: "error",
      message: "The provider gave no token: the list of credentials says why",
    });
    expect(answer.headers.get("location")).toContain("status=error");
    const { body: told } = await status();
    expect(told).toEqual({ connected: false, last_error: expect.stringContaining(says) });
    expect(redirected).toBe(0);
    expect(`${JSON.stringify(told)}${answer.headers.get("location")}${logged}`).not.toContain("leak-9");
  });

  it.each([
    { without: "key", says: '"key" is required' },
    { without: "authorization_url", says: '"authorization_url" is required for the connect flow' },
    { without: "token_url", says: '"token_url" is required' },
    { without: "client_id", says: '"client_id" is required' },
  ])("need $without", async ({ without, says }) => {
    const answer = await post("connect", { ...settings(), [without]: undefined });
    expect([answer.status, answer.body.error]).toEqual([400, says]);
  });

  it.each([
    { url: "ftp://idp.example.com/t", because: "the form goes by HTTP" },
    { url: "javascript:alert(1)", because: "it would run in the browser of whoever opens it" },
    { url: "idp.example.com/t", because: "it is no URL" },
    { url: "http://idp.example.com/t", because: "the secret would go in clear" },
    { url: "https://user:pass@idp.example.com/t", because: "a password in it would be shown in lists" },
    { url: "https://idp.example.com/t#x", because: "a fragment is never sent" },
  ])("refuse the address $url: $because", async ({ url }) => {
    for (const field of ["token_url", "authorization_url"]) {
      const answer = await post("connect", { ...settings(), [field]: url });
      expect([answer.status, answer.body.error]).toEqual([400, expect.stringContaining(`"${field}"`)]);
    }
    expect(await entry()).toEqual({});
  });

  it("are for members of the vault", async () => {
    await connect();
    for (const [who, expected] of [
      ["stranger", 404],
      ["scoped", 403],
      ["owner", 403],
    ] as const) {
      const token = tokens[who];
      expect((await post("connect", settings(), token)).status).toBe(expected);
      expect((await post("tokens", { vault: "alpha", key, access_token: "x" }, token)).status).toBe(expected);
      expect((await post("confirm", { vault: "alpha", key, code: "AAAA-AAAA" }, token)).status).toBe(expected);
      expect((await post("disconnect", { vault: "alpha", key }, token)).status).toBe(expected);
      expect((await status(token)).status).toBe(expected);
    }
  });

  it("fill in what a preset knows", async () => {
    const body = { vault: "alpha", key, provider: "google", client_id: "c" };
    const url = new URL(String((await post("connect", body)).body.authorization_url));
    expect(url.origin + url.pathname).toBe("https://accounts.google.com/o/oauth2/v2/auth");
    expect(url.searchParams.get("access_type")).toBe("offline");
    expect(await entry()).toMatchObject({ token_url: "https://oauth2.googleapis.com/token" });
    const { body: listed } = await api.call("GET", "/v1/oauth/providers");
    expect(listed.providers).toHaveLength(14);
    expect((await post("connect", { ...body, provider: "nobody" })).status).toBe(404);
  });

  // --- the attacker's side ---------------------------------------------------------------------------------------

  it("are connected once by a state, also when it comes many times at once", async () => {
    const back = provider.consent(await connect());
    const answers = await Promise.all(Array.from({ length: 8 }, () => comeBack(back)));
    expect(answers.map((answer) => outcome(answer).status).sort()).toEqual([...Array(7).fill("error"), "success"]);
    expect(provider.tokenRequests).toHaveLength(1);
    expect(outcome(await comeBack(back))).toMatchObject({
      status: "error",
      message: "This link was used already, or is not one of ours",
    });
  });

  it("are not connected by a state that is made up, altered or too old", async () => {
    const back = provider.consent(await connect());
    for (const state of [`av_oast_${"0".repeat(64)}`, `${back.searchParams.get("state")}0`, "", "' or 1=1"]) {
      const other = new URL(back);
      other.searchParams.set("state", state);
      expect(outcome(await comeBack(other)).status).toBe("error");
    }
    api.clock.advance(10 * 60_000 + 1_000);
    expect(outcome(await comeBack(back))).toMatchObject({
      status: "error",
      message: "The connection was not completed within ten minutes",
    });
    expect(provider.tokenRequests).toEqual([]);
    expect((await status()).body.connected).toBe(false);
  });

  it("keep neither the state nor the verifier in the database", async () => {
    const state = new URL(await connect()).searchParams.get("state") ?? "";
    const row = await database.db
      .selectFrom("oauth_states")
      .selectAll()
      .orderBy("created_at", "desc")
      .executeTakeFirst();
    expect(JSON.stringify(row)).not.toContain(state.slice(8));
    expect(Buffer.from(row?.verifier_sealed ?? []).toString("latin1")).not.toMatch(/^[\w-]{43}$/);
  });

  it("do not take a code that somebody else was given: the verifier does not fit", async () => {
    const theirs = provider.consent(await connect());
    const mine = provider.consent(await connect());
    mine.searchParams.set("code", theirs.searchParams.get("code") ?? "");
    expect(outcome(await comeBack(mine))).toMatchObject({
      status: "error",
      message: "The provider gave no token: the list of credentials says why",
    });
    expect((await status()).body).toMatchObject({
      connected: false,
      last_error: expect.stringContaining("invalid_grant"),
    });
  });

  it("are not connected by the browser of somebody who was led to consent", async () => {
    // The attacker begins, and sends the address to a victim, who consents.
    const back = provider.consent(await connect());
    const page = await comeBack(back, browser);
    expect(page.status).toBe(200);
    expect((await status()).body.connected).toBe(false);
    expect(provider.tokenRequests).toEqual([]);
    // The link is used up, and the attacker does not know the code that the victim sees.
    expect(outcome(await comeBack(back))).toMatchObject({ status: "error" });
    const guesses = await Promise.all(
      Array.from({ length: 12 }, (_, at) => post("confirm", { vault: "alpha", key, code: `2345-67A${(at % 8) + 2}` })),
    );
    expect(guesses.map((guess) => guess.status)).toEqual(Array(12).fill(400));
    // The right code comes too late: five wrong ones ended it.
    const code = /<code>([\w-]+)<\/code>/.exec(page.text)?.[1] ?? "";
    expect((await post("confirm", { vault: "alpha", key, code })).status).toBe(400);
    expect((await status()).body.connected).toBe(false);
  });

  it("are connected when the one who began types the code of the page, and nobody else", async () => {
    const page = await comeBack(provider.consent(await connect()), browser);
    const code = /<code>([\w-]+)<\/code>/.exec(page.text)?.[1] ?? "";
    expect(page.text).toContain("member@example.com");
    expect((await post("confirm", { vault: "alpha", key, code }, tokens.admin)).status).toBe(400);
    const answer = await post("confirm", { vault: "alpha", key, code: code.toLowerCase().replace("-", " ") });
    expect([answer.status, answer.body.connected]).toEqual([200, true]);
    expect((await post("confirm", { vault: "alpha", key, code })).status).toBe(400);
    expect(provider.tokenRequests).toHaveLength(1);
  });

  it("are tied to the browser that began, where one did", async () => {
    const login = { cookie: `av_session=${tokens.member}`, origin: baseUrl };
    const begin = async (headers: Record<string, string> = login) => {
      const answer = await api.call("POST", "/v1/credentials/oauth/connect", { body: settings(), headers });
      const cookie = answer.headers.get("set-cookie") ?? "";
      return { answer, cookie, url: String(answer.body.authorization_url) };
    };
    const { cookie, url } = await begin();
    expect(cookie).toMatch(/^__Host-av_oauth=[0-9a-f]{64}; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax; Secure$/);
    // A victim's browser, and one with another flow's cookie.
    for (const foreign of [{}, { cookie: `__Host-av_oauth=${"0".repeat(64)}` }, { cookie: planted(cookie) }]) {
      const attempt = await begin();
      const answer = await comeBack(provider.consent(attempt.url), { ...browser, ...foreign });
      expect(outcome(answer)).toMatchObject({
        status: "error",
        message: "The connection was begun in another browser: begin and consent in the same one",
      });
    }
    expect(provider.tokenRequests).toEqual([]);
    const own = { ...browser, cookie: cookie.split(";")[0] ?? "" };
    expect(outcome(await comeBack(provider.consent(url), own)).status).toBe("success");
  });

  it("are not connected for somebody who has lost the vault since", async () => {
    const email = `leaver-${key.toLowerCase()}@example.com`;
    const leaver = await api.addUser(email);
    const member = { token: tokens.admin, body: { email, role: "member" } };
    await api.expect(201, "POST", "/v1/vaults/alpha/users", member);
    const back = provider.consent(await connect({}, leaver));
    await api.expect(200, "DELETE", `/v1/vaults/alpha/users/${encodeURIComponent(email)}`, { token: tokens.admin });
    expect(outcome(await comeBack(back))).toMatchObject({
      status: "error",
      message: "Whoever began the connection may not change the vault any more",
    });
    expect(provider.tokenRequests).toEqual([]);
  });

  it("do not mix two connections: tokens of one client are not stored beside the settings of another", async () => {
    const first = provider.consent(await connect());
    await connect({ token_url: `${provider.tokenUrl}/of-somebody-else` });
    expect(outcome(await comeBack(first))).toMatchObject({
      status: "error",
      message: "The settings of the credential were changed in the meantime",
    });
    expect(provider.tokenRequests).toEqual([]);
  });

  it("do not send the stored secret or refresh token to another token endpoint", async () => {
    await comeBack(provider.consent(await connect()));
    const stolen = `${provider.tokenUrl}/attacker`;
    const url = await connect({ token_url: stolen, client_secret: mask });
    expect(await entry()).not.toHaveProperty("client_secret");
    expect(await entry()).not.toHaveProperty("refresh_token");
    await comeBack(provider.consent(url));
    await post("tokens", { vault: "alpha", key, refresh_token: "rt", token_url: stolen, client_secret: mask });
    const sent = provider.tokenRequests.filter(({ path }) => path.endsWith("/attacker"));
    expect(sent.length).toBeGreaterThan(0);
    expect(sent.map(({ form }) => form.toString()).join()).not.toContain("s3cret");
  });

  it("keep the stored secret where the token endpoint stays", async () => {
    await comeBack(provider.consent(await connect()));
    await comeBack(provider.consent(await connect({ client_secret: mask })));
    expect((await status()).body).not.toHaveProperty("last_error");
    await connect({ client_secret: "" });
    expect(await entry()).not.toHaveProperty("client_secret");
  });

  it("write nothing of the request into the pages", async () => {
    const evil = "<script>alert(1)</script>";
    for (const query of [
      `error=${evil}&error_description=${evil}`,
      `error=access_denied&error_description=${evil}`,
      `code=${evil}&state=${evil}`,
      `code=x`,
    ]) {
      const answer = await api.call("GET", `/v1/oauth/callback?${query}`, { headers: browser });
      expect(answer.status).toBe(302);
      expect(answer.text + answer.headers.get("location")).not.toContain("script");
    }
    const ours = await api.call("GET", "/oauth/complete?status=error&message=Missing+code+or+state+parameter");
    expect(ours.text).toContain("Missing code or state parameter.");
    for (const query of [`status=error&message=${evil}`, "status=error&message=constructor", "status=success"]) {
      const page = await api.call("GET", `/oauth/complete?${query}`);
      expect(page.status).toBe(200);
      expect(page.text).not.toMatch(/<script|alert|function/);
      const policy = page.headers.get("content-security-policy") ?? "";
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toContain("unsafe");
      expect(page.headers.get("cache-control")).toBe("no-store");
      expect(page.headers.get("referrer-policy")).toBe("no-referrer");
    }
  });

  it("are not used up by whoever only looks at the link", async () => {
    const back = provider.consent(await connect());
    const { pathname, search } = back;
    expect((await api.call("HEAD", pathname + search)).status).toBe(302);
    expect(outcome(await comeBack(back)).status).toBe("success");
  });

  it("leave no secret in logs, addresses or errors", async () => {
    const url = await connect();
    const back = provider.consent(url);
    await comeBack(back);
    const seen = logged;
    const secrets = [
      provider.clientSecret,
      back.searchParams.get("code") ?? "",
      back.searchParams.get("state") ?? "",
      (await revealed()) ?? "",
      provider.tokenRequests[0]?.form.get("code_verifier") ?? "",
    ];
    for (const secret of secrets) {
      expect(secret.length).toBeGreaterThan(5);
      expect(seen).not.toContain(secret);
    }
    expect(url).not.toContain(encodeURIComponent(provider.clientSecret));
  });

  // --- uploads ---------------------------------------------------------------------------------------------------

  it("are uploaded as they are where nothing can refresh them", async () => {
    const answer = await post("tokens", { vault: "alpha", key, access_token: "at-by-hand" });
    expect(answer.body).toEqual({ connected: true, connected_at: expect.any(String) });
    expect(await revealed()).toBe("at-by-hand");
    expect(await entry()).toMatchObject({ type: "oauth", token_url: "manual", client_id: "manual" });
    const kept = await post("tokens", { vault: "alpha", key, access_token: mask, refresh_token: "rt-1" });
    expect(kept.status).toBe(200);
    expect(await revealed()).toBe("at-by-hand");
  });

  it.each([
    { body: {}, says: '"access_token" or "refresh_token" is required' },
    { body: { access_token: mask }, says: "No existing access token to preserve" },
    { body: { refresh_token: "rt" }, says: "token_url" },
    { body: { access_token: "a\nb" }, says: "visible ASCII" },
    { body: { access_token: "a", token_url: "http://169.254.169.254/" }, says: '"token_url"' },
  ])("are not uploaded from $body, and leave nothing behind", async ({ body, says }) => {
    const answer = await post("tokens", { vault: "alpha", key, ...body });
    expect([answer.status, answer.body.error]).toEqual([400, expect.stringContaining(says)]);
    expect(await entry()).toEqual({});
  });

  it("are refreshed at once when a refresh token is uploaded", async () => {
    const client = { token_url: provider.tokenUrl, client_id: provider.clientId, client_secret: provider.clientSecret };
    const refresh_token = provider.mintRefreshToken();
    const body = { vault: "alpha", key, ...client, access_token: "ignored", refresh_token };
    expect((await post("tokens", body)).status).toBe(200);
    expect(provider.accepts((await revealed()) ?? "")).toBe(true);
    expect(await entry()).toMatchObject({ client_secret: mask, refresh_token: mask });
    const refusal = await post("tokens", { ...body, refresh_token: "rt-unknown" });
    expect([refusal.status, refusal.body.error]).toEqual([
      400,
      "Refresh token validation failed: The provider's token endpoint refused with invalid_grant (status 400)",
    ]);
    expect(refusal.text).not.toContain("rt-unknown");
  });

  it("are disconnected without losing their settings, and cannot come back by a consent under way", async () => {
    await comeBack(provider.consent(await connect()));
    const late = provider.consent(await connect({ client_secret: mask }));
    expect((await post("disconnect", { vault: "alpha", key })).body).toEqual({ connected: false });
    expect((await status()).body).toEqual({ connected: false });
    expect(await revealed()).toBeUndefined();
    expect(await entry()).toMatchObject({ token_url: provider.tokenUrl, client_secret: mask });
    expect(outcome(await comeBack(late)).status).toBe("error");
    key = "NEVER_THERE";
    expect((await status()).status).toBe(404);
    expect((await post("disconnect", { vault: "alpha", key })).status).toBe(404);
  });
});
