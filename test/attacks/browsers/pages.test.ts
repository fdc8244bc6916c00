/** What pages of other sites see of a server, and what hostile words do in its own pages, in a real browser. */
import { connect } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startBinaryServer } from "../../support/binary.ts";
import { type Page, TestBrowser } from "../../support/browser.ts";
import { defended } from "../support/declaration.ts";
import { addInlineScript, ask, load } from "../support/in-page.mjs";
import { type SignedIn, signIn } from "../support/signed-in.ts";

defended({
  wants:
    "to read what a server answers from pages of other sites, to frame its pages, or to run words of a proposal in them",
});

/** Runs wherever a browser takes it for a part of a page. */
const hostileText = `"'><script>window.pwned=1</script><img src=x onerror="window.pwned=1"><svg onload=window.pwned=1>`;

let stage: SignedIn;
let page: Page;
/** An approval link of a proposal whose every text is hostile. */
let approval: string;

beforeAll(async () => {
  stage = await signIn("loopback");
  const { server } = stage;
  await server.api("POST", "/v1/credentials", { vault: "default", credentials: { KEPT: "value" } });
  await server.api("PATCH", "/v1/credentials/KEPT?vault=default", { description: hostileText });
  const { token } = (await server.api("POST", "/v1/sessions", { vault: "default" })) as { token: string };
  const proposal = await fetch(`${server.apiUrl}/v1/proposals`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      services: [{ action: "set", name: "api", host: "api.example.com", auth: { type: "bearer", token: "NEW_KEY" } }],
      credentials: [{ action: "set", key: "NEW_KEY", description: hostileText, obtain: "https://example.com/" }],
      message: hostileText,
      user_message: hostileText,
    }),
  });
  const { approval_url: url } = (await proposal.json()) as { approval_url: string };
  const { pathname, searchParams } = new URL(url);
  const number = pathname.split("/").at(-1) ?? "";
  approval = `/v1/proposals/approve-details?id=${number}&token=${searchParams.get("token")}`;
  page = await stage.person.newPage();
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
});

/** Of every kind of answer one: JSON, text, PEM, HTML, errors, what is for somebody signed in. */
const answers = [
  "/health",
  "/v1/status",
  "/v1/mitm/ca.pem",
  "/v1/service-catalog",
  "/v1/skills/cli",
  "/oauth/complete?status=error",
  "/nothing-here",
  "/v1/auth/me",
  "/v1/vaults",
];

describe.each(["nearby", "elsewhere"] as const)("a page of %s", (site) => {
  beforeEach(async () => {
    await page.goto(stage[site].origin);
  });

  it("reads no answer", async () => {
    for (const path of [...answers, approval]) {
      const url = `${stage.front.origin}${path}`;
      expect([path, await page.evaluate(ask, { url })]).toEqual([path, { refused: "TypeError: Failed to fetch" }]);
    }
    for (const { answerHeaders } of stage.front.arrivals) {
      expect(Object.keys(answerHeaders).filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });

  it("makes no part of itself of an answer", async () => {
    for (const path of [...answers, approval]) {
      for (const as of ["img", "script", "link"] as const) {
        const url = `${stage.front.origin}${path}`;
        expect([path, as, await page.evaluate(load, { url, as })]).toEqual([path, as, "error"]);
      }
    }
  });

  it("frames none of our pages", async () => {
    // What comes as a file to keep is shown nowhere, and the page that asked waits for ever.
    for (const path of [...answers, approval].filter((each) => each !== "/v1/mitm/ca.pem")) {
      for (const as of ["iframe", "embed", "object"] as const) {
        await page.goto(stage[site].origin);
        await page.evaluate(load, { url: `${stage.front.origin}${path}`, as });
        // A browser that obeys shows a page of its own instead, or nothing.
        const shown = page.frames().map((frame) => frame.url());
        expect([path, as, shown.filter((url) => url.startsWith(stage.front.origin))]).toEqual([path, as, []]);
      }
    }
  });
});

describe("a page of ours", () => {
  const isHarmless = async () => {
    await page.waitForLoadState("load");
    expect(await page.evaluate("window.pwned")).toBeUndefined();
    expect(await page.evaluate("document.querySelectorAll('img, svg, script').length")).toBe(0);
  };

  it.each([
    ["what an agent wrote into a proposal", () => approval],
    ["what somebody noted of a credential", () => "/v1/credentials?vault=default"],
    ["the list of proposals", () => "/v1/admin/proposals?vault=default"],
  ])("does not run %s", async (_what, path) => {
    const answer = await page.goto(`${stage.front.origin}${path()}`);
    expect(answer?.status()).toBe(200);
    expect(await page.content()).toContain("pwned");
    await isHarmless();
    expect(await page.evaluate(load, { url: `${stage.front.origin}${path()}`, as: "script" as const })).toBe("error");
  });

  it.each([
    "/oauth/complete?status=error&message=",
    "/oauth/complete?status=",
    "/v1/oauth/callback?error=",
    "/v1/oauth/callback?code=x&state=",
    "/v1/oauth/callback?error=access_denied&error_description=",
    "/nothing-here/",
    "/v1/proposals/approve-details?id=1&token=",
    "/setup/",
    "/v1/users/invites/",
  ])("does not run what stands in its address: %s", async (path) => {
    await page.goto(`${stage.front.origin}${path}${encodeURIComponent(hostileText)}`);
    expect(page.url().startsWith(`${stage.front.origin}/`)).toBe(true);
    expect(await page.content()).not.toContain("pwned");
    await isHarmless();
  });

  it("runs no script that was slipped into it", async () => {
    for (const path of ["/health", "/nothing-here", "/oauth/complete"]) {
      await page.goto(`${stage.front.origin}${path}`);
      expect([path, await page.evaluate(addInlineScript, "window.pwned = 1")]).toEqual([path, undefined]);
    }
  });

  it("sends nobody to another site, however its address is written", async () => {
    const { host: foreign } = new URL(stage.elsewhere.origin);
    const paths = [
      `//${foreign}/`,
      `///${foreign}//`,
      `/.//${foreign}/../`,
      `/%2f%2f${foreign}//`,
      `/%5c${foreign}//`,
      `/%09//${foreign}/`,
      `/oauth/complete/..//${foreign}`,
      `/v1/oauth/callback?error=x&redirect_uri=//${foreign}&return_to=//${foreign}`,
      `/v1/oauth/callback?code=x&state=//${foreign}`,
      `/setup/%2f%2f${foreign}`,
    ];
    for (const path of paths) {
      await page.goto(`${stage.front.origin}${path}`);
      expect([path, new URL(page.url()).origin]).toEqual([path, stage.front.origin]);
    }
  });
});

describe("a request that no browser writes", () => {
  /** The head of the answer to a request line as it is. */
  const headOf = (target: string, headers: readonly string[] = []) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(stage.server.apiPort, "127.0.0.1");
      let text = "";
      const host = `Host: ${new URL(stage.front.origin).host}`;
      socket.write([`GET ${target} HTTP/1.1`, host, "Connection: close", ...headers, "", ""].join("\r\n"));
      socket.on("data", (part) => {
        text += part.toString("latin1");
      });
      socket.on("error", reject);
      socket.on("close", () => resolve(text.split("\r\n\r\n")[0] ?? ""));
    });
  const locationIn = (head: string) => /^location: (.*)$/im.exec(head)?.[1];

  it.each([
    ["/.//x%0d%0aX-Injected: 1", "the path of a redirect"],
    ["/./v1?a=%0d%0aX-Injected:%201", "the query of a redirect"],
    ["/v1/oauth/callback?error=%0d%0aX-Injected:%201", "what a provider says went wrong"],
    ["/v1/oauth/callback?code=1&state=%0d%0aX-Injected:%201", "a state"],
    ["/setup/%0d%0aX-Injected:%201", "a setup link"],
    ["/invite%0d%0aX-Injected:%201", "a path that lacks its slash"],
    ["/v1/vaults/a%0d%0aX-Injected:%201/logs/export", "the vault of an export, whose name is in the name of the file"],
  ])("puts no line into our heads: %s, %s", async (target, _where) => {
    const head = await headOf(target.replace(": ", ":%20"));
    expect(head).toMatch(/^HTTP\/1\.1 \d{3} /);
    expect(head).not.toMatch(/^x-injected/im);
  });

  it.each(["/./\\evil.example.org", "/\\evil.example.org//", "/.\\/\\evil.example.org//", "//\\evil.example.org/"])(
    "is not led to another site by a backslash, which browsers take for a slash: %s",
    async (target) => {
      const location = locationIn(await headOf(target));
      if (location === undefined) return;
      expect(new URL(location, stage.front.origin).origin).toBe(stage.front.origin);
    },
  );

  it("does not choose the site of our links by a header", async () => {
    const { host: foreign } = new URL(stage.elsewhere.origin);
    const head = await headOf("/v1/oauth/callback?error=x", [
      `X-Forwarded-Host: ${foreign}`,
      "X-Forwarded-Proto: https",
      `Forwarded: host=${foreign};proto=https`,
      `X-Original-Host: ${foreign}`,
    ]);
    expect(locationIn(head)).toMatch(new RegExp(`^${stage.front.origin}/oauth/complete\\?`));
  });
});

describe("a page whose name was rebound to this machine", () => {
  it("neither reads from a server that has no owner yet, nor becomes its owner", async () => {
    await using server = await startBinaryServer();
    await using browser = await TestBrowser.launch();
    const person = await browser.person();
    const tab = await person.newPage();
    const own = await tab.goto(`${server.apiUrl}/v1/status`);
    expect(own?.status()).toBe(200);
    // The browser holds this for the site of the page: its scripts may read and write there as they like.
    const rebound = `http://evil.example.org:${server.apiPort}`;
    await tab.goto(`${rebound}/v1/status`);
    const register = JSON.stringify({ email: "evil@example.org", password: "stolen-pass-1" });
    for (const request of [
      { url: `${rebound}/v1/status` },
      { url: `${rebound}/health` },
      { url: `${rebound}/v1/mitm/ca.pem` },
      { url: `${rebound}/v1/auth/register`, method: "POST", type: "application/json", body: register },
      { url: `${rebound}/nothing-here` },
    ]) {
      const answer = await tab.evaluate(ask, request);
      expect([request.url, answer]).toMatchObject([request.url, { status: 403 }]);
      expect("text" in answer && JSON.parse(answer.text)).toMatchObject({ code: "foreign_host" });
    }
    const status = (await (await fetch(`${server.apiUrl}/v1/status`)).json()) as { needs_first_user: boolean };
    expect(status.needs_first_user).toBe(true);
  });
});
