/** What becomes of the login cookie in a real browser: who can read it, take it elsewhere, or put another in its place. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BrowserContext } from "../../support/browser.ts";
import { defended } from "../support/declaration.ts";
import { ask } from "../support/in-page.mjs";
import { fromOwnPage, logIn, type PlaceName, type SignedIn, signIn } from "../support/signed-in.ts";

defended({ wants: "to read a person's login in their browser, to take it elsewhere, or to put another in its place" });

describe.each<PlaceName>(["loopback", "tls"])("the login of a browser, on a server reached by %s,", (place) => {
  let stage: SignedIn;

  /** Somebody else with an account, who would like others to work in it. */
  const strangerLogin = { email: "stranger@example.com", password: "strangers-pass-1" };

  beforeAll(async () => {
    stage = await signIn(place);
    const { email, password } = strangerLogin;
    const invite = (await stage.server.api("POST", "/v1/users/invites", { email })) as { invite_link: string };
    const token = invite.invite_link.split("/invite/")[1];
    const accept = `${stage.server.apiUrl}/v1/users/invites/${token}/accept`;
    await fetch(accept, { method: "POST", body: JSON.stringify({ password }) });
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  });

  const host = () => new URL(stage.front.origin).hostname;
  const logins = async (person: BrowserContext) =>
    (await person.cookies(stage.front.origin)).filter(({ name }) => name.endsWith("av_session"));
  const whoAmI = async (person: BrowserContext) => {
    const { status, text } = await fromOwnPage(person, stage.front, { path: "/v1/auth/me" });
    return status === 200 ? (JSON.parse(text) as { email: string }).email : status;
  };

  it("is kept from scripts and other sites, and from what is not TLS where there is TLS", async () => {
    const kept = await logins(stage.person);
    const isSecure = place === "tls";
    expect(kept.map(({ name }) => name).sort()).toEqual(
      isSecure ? ["__Host-av_session", "av_session"] : ["av_session"],
    );
    for (const cookie of kept) {
      expect(cookie).toMatchObject({ domain: host(), path: "/", httpOnly: true, sameSite: "Strict", secure: isSecure });
    }
    const page = await stage.person.newPage();
    await page.goto(`${stage.front.origin}/health`);
    expect(await page.evaluate("document.cookie")).toBe("");
    expect(await page.evaluate("cookieStore.getAll()")).toEqual([]);
    await page.close();
  });

  it("is another one after each time of signing in, and the cookie goes with it at the end", async () => {
    const person = await stage.browser.person();
    await logIn(person, stage.front);
    const first = (await logins(person))[0]?.value ?? "";
    await logIn(person, stage.front);
    const second = (await logins(person))[0]?.value ?? "";
    expect(second).toMatch(/^av_sess_[0-9a-f]{64}$/);
    expect(second).not.toBe(first);
    await fromOwnPage(person, stage.front, { method: "POST", path: "/v1/auth/logout" });
    expect(await logins(person)).toEqual([]);
    // Not only forgotten by the browser: it is worth nothing any more.
    const headers = { authorization: `Bearer ${second}` };
    expect((await fetch(`${stage.server.apiUrl}/v1/auth/me`, { headers })).status).toBe(401);
    await person.close();
  });

  it("is not the one that somebody made up before: signing in takes nothing over", async () => {
    const person = await stage.browser.person();
    const fixed = `av_sess_${"a".repeat(64)}`;
    await person.addCookies([{ name: "av_session", value: fixed, url: stage.front.origin }]);
    expect(await whoAmI(person)).toBe(401);
    await logIn(person, stage.front);
    expect((await logins(person)).map(({ value }) => value)).not.toContain(fixed);
    const headers = { authorization: `Bearer ${fixed}` };
    expect((await fetch(`${stage.server.apiUrl}/v1/auth/me`, { headers })).status).toBe(401);
    await person.close();
  });

  it("is sent to no other site, whatever a page there asks for", async () => {
    const page = await stage.person.newPage();
    await page.goto(stage.elsewhere.origin);
    const from = stage.front.arrivals.length;
    await page.evaluate(ask, { url: `${stage.front.origin}/v1/auth/me` });
    const [arrival] = stage.front.to("/v1/auth/me", from);
    expect([arrival?.status, arrival?.headers.cookie]).toEqual([401, undefined]);
    await page.close();
  });

  it("is never somebody else's, whom a neighbour has signed in there: nobody fills a stranger's vault unawares", async () => {
    const stranger = await stage.browser.person();
    await logIn(stranger, stage.front, strangerLogin);
    const token = (await logins(stranger))[0]?.value ?? "";
    // The neighbour can set cookies for all of the site, and for a path that ours is inside of: those come first.
    const domain = place === "tls" ? "; Domain=corp.example" : "";
    const planted = (path: string) => `av_session=${token}; Path=${path}${domain}`;
    for (const cookies of [[planted("/v1")], [planted("/v1/auth")], [planted("/v1"), planted("/v1/auth")]]) {
      const person = await stage.browser.person();
      await logIn(person, stage.front);
      stage.plantedCookies = cookies;
      const page = await person.newPage();
      await page.goto(stage.nearby.origin);
      await page.close();
      const from = stage.front.arrivals.length;
      const seen = await whoAmI(person);
      const [arrival] = stage.front.to("/v1/auth/me", from);
      expect(arrival?.headers.cookie?.startsWith(`av_session=${token}`), "the attack is under way").toBe(true);
      // Behind TLS the person stays who they are; without it a browser cannot tell, and they are nobody.
      expect(seen).toBe(place === "tls" ? "owner@example.com" : 401);
      await person.close();
    }
    await stranger.close();
  });

  if (place === "loopback") return;

  it("counts for nothing where a neighbour planted all there is of it", async () => {
    const stranger = await stage.browser.person();
    await logIn(stranger, stage.front, strangerLogin);
    const token = (await logins(stranger))[0]?.value ?? "";
    stage.plantedCookies = [
      `av_session=${token}; Path=/; Domain=corp.example; Secure`,
      `__Host-av_session=${token}; Path=/; Domain=corp.example; Secure`,
      `__Host-av_session=${token}; Path=/v1; Secure`,
      ` __Host-av_session=${token}; Path=/; Domain=corp.example; Secure`,
      `=__Host-av_session=${token}; Path=/; Domain=corp.example; Secure`,
    ];
    const person = await stage.browser.person();
    const page = await person.newPage();
    await page.goto(stage.nearby.origin);
    await page.close();
    const from = stage.front.arrivals.length;
    expect(await whoAmI(person)).toBe(401);
    expect(stage.front.to("/v1/auth/me", from)[0]?.headers.cookie, "the attack is under way").toContain(token);
    await person.close();
    await stranger.close();
  });
});
