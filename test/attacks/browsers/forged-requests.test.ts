/**
 * Cross-site request forgery, from a real browser in which the owner is signed in. For each way in which a page can make a
 * browser send something: it arrives, with the cookie where browsers send it, and changes nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Page } from "../../support/browser.ts";
import { defended } from "../support/declaration.ts";
import { ask, follow, load, sendBeacon, sendBlind, submitForm } from "../support/in-page.mjs";
import { fromOwnPage, type PlaceName, type SignedIn, signIn } from "../support/signed-in.ts";
import type { Arrival } from "../support/web.ts";

defended({ wants: "to change something with the login of a person who looks at a page of another site" });

/** What somebody would like to have done in the owner's name. */
const targets = [
  { path: "/v1/vaults", body: { name: "stolen" } },
  {
    path: "/v1/vaults/default/services",
    body: { services: [{ host: "evil.example.org", auth: { type: "passthrough" } }] },
  },
  { path: "/v1/credentials", body: { vault: "default", credentials: { STOLEN: "value" } } },
  { path: "/v1/admin/proposals/1/approve", body: { vault: "default" } },
  { path: "/v1/agents", body: { name: "stolen", role: "owner" } },
  { path: "/v1/users/invites", body: { email: "evil@example.org", role: "owner" } },
  { path: "/v1/sessions", body: { vault: "default" } },
  { path: "/v1/auth/change-password", body: { current_password: "correct-pass-1", new_password: "stolen-pass-1" } },
  // Signed out, or in as somebody else, a person does not notice whose vault they fill.
  { path: "/v1/auth/logout", body: {} },
  { path: "/v1/auth/login", body: { email: "owner@example.com", password: "correct-pass-1" } },
] as const;

/** Ways that need nobody's consent: no preflight comes before them. */
const techniques: readonly {
  readonly name: string;
  attempt(page: Page, url: string, body: string): Promise<unknown>;
}[] = [
  {
    name: "a form",
    attempt: (page, url, body) =>
      submit(page, { url, enctype: "application/x-www-form-urlencoded", name: "body", value: body }),
  },
  {
    name: "a form with JSON in text/plain",
    // The equals sign between name and value becomes a part of the JSON.
    attempt: (page, url, body) =>
      submit(page, { url, enctype: "text/plain", name: `${body.slice(0, -1)},"x":"`, value: '"}' }),
  },
  {
    name: "a multipart form",
    attempt: (page, url, body) => submit(page, { url, enctype: "multipart/form-data", name: "body", value: body }),
  },
  {
    name: "a blind request as text/plain",
    attempt: (page, url, body) => page.evaluate(sendBlind, { url, type: "text/plain", body }),
  },
  {
    name: "a blind request without a type",
    attempt: (page, url, body) => page.evaluate(sendBlind, { url, type: "", body }),
  },
  {
    name: "a beacon",
    attempt: (page, url, body) => page.evaluate(sendBeacon, { url, type: "text/plain", body }),
  },
];

/** Submits a form and goes where it leads. */
async function submit(page: Page, form: Parameters<typeof submitForm>[0]): Promise<void> {
  await page.evaluate(submitForm, form);
  await page.waitForURL(form.url);
}

/** Requests that a browser sends only after a preflight has allowed them. */
const preflighted = [
  { method: "POST", path: "/v1/vaults", type: "application/json", body: JSON.stringify({ name: "stolen" }) },
  { method: "PUT", path: "/v1/admin/settings", type: "application/json", body: JSON.stringify({ invite_only: true }) },
  {
    method: "PATCH",
    path: "/v1/vaults/default/settings",
    type: "text/plain",
    body: '{"unmatched_host_policy":"deny"}',
  },
  { method: "DELETE", path: "/v1/auth/account" },
  { method: "DELETE", path: "/v1/vaults/default/services" },
] as const;

/** Reads that leave something behind: a line in the audit log that says the person did it. */
const reads = ["/v1/credentials?vault=default&reveal=true&key=KEPT", "/v1/audit/export", "/v1/vaults/default/logs"];

describe.each<PlaceName>(["loopback", "tls"])("a server reached by %s, from a page of", (place) => {
  let stage: SignedIn;

  beforeAll(async () => {
    stage = await signIn(place);
    await stage.server.api("POST", "/v1/credentials", { vault: "default", credentials: { KEPT: "value" } });
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  });

  const sites = ["nearby", "elsewhere"] as const;
  type Visit = (act: (page: Page) => Promise<void>) => Promise<void>;
  /** Lets `attempts` act on pages of a stranger in the person's browser; nothing may have changed afterwards. */
  async function withoutEffect(site: (typeof sites)[number], attempts: (visit: Visit) => Promise<void>): Promise<void> {
    const before = await stage.newestChange();
    const page = await stage.person.newPage();
    await attempts(async (act) => {
      await page.goto(stage[site].origin);
      await act(page);
    });
    await page.goto("about:blank");
    await page.close();
    expect(await stage.newestChange()).toBe(before);
    const me = await fromOwnPage(stage.person, stage.front, { path: "/v1/auth/me" });
    expect([me.status, JSON.parse(me.text)]).toMatchObject([200, { email: "owner@example.com" }]);
  }
  const arrivalAt = async (path: string, from: number): Promise<Arrival> => {
    // Browsers may ask twice.
    await expect.poll(() => stage.front.to(path, from).length, { timeout: 20_000 }).toBeGreaterThan(0);
    return stage.front.to(path, from)[0] as Arrival;
  };
  const carriesLogin = ({ headers }: Arrival) => headers.cookie?.includes("av_session=av_sess_") ?? false;

  it("itself, the same request does what it says", async () => {
    const before = await stage.newestChange();
    const body = JSON.stringify({ name: `made-by-the-owner-${place}` });
    expect((await fromOwnPage(stage.person, stage.front, { method: "POST", path: "/v1/vaults", body })).status).toBe(
      201,
    );
    expect(await stage.newestChange()).toBeGreaterThan(before);
  });

  const attempts = sites.flatMap((site) => techniques.map((technique) => ({ ...technique, site })));
  it.each(attempts)("$site, $name changes nothing", async ({ site, attempt }) => {
    await withoutEffect(site, async (visit) => {
      for (const { path, body } of targets) {
        await visit(async (page) => {
          const from = stage.front.arrivals.length;
          await attempt(page, `${stage.front.origin}${path}`, JSON.stringify(body));
          const arrival = await arrivalAt(path, from);
          expect([path, carriesLogin(arrival)]).toEqual([path, site === "nearby"]);
          // Without the cookie nobody is signed in; signing in and out are judged all the same.
          const isJudged = site === "nearby" || /log(in|out)$/.test(path);
          expect([path, arrival.status]).toEqual([path, isJudged ? 403 : 401]);
          if (isJudged) expect(JSON.parse(arrival.answer)).toMatchObject({ code: "cross_origin" });
          expect(arrival.answerHeaders["set-cookie"]).toBeUndefined();
        });
      }
    });
  });

  it.each(sites)("%s, what needs to be allowed first never arrives", async (site) => {
    await withoutEffect(site, (visit) =>
      visit(async (page) => {
        for (const { path, ...request } of preflighted) {
          const from = stage.front.arrivals.length;
          const asked = await page.evaluate(ask, { ...request, url: `${stage.front.origin}${path}` });
          expect(asked).toEqual({ refused: expect.stringContaining("Failed to fetch") });
          const preflight = await arrivalAt(path, from);
          expect([preflight.method, preflight.status]).toEqual(["OPTIONS", 405]);
          expect(Object.keys(preflight.answerHeaders).filter((name) => name.startsWith("access-control"))).toEqual([]);
        }
      }),
    );
  });

  it.each(sites)("%s, what is read in passing leaves no line in the person's name", async (site) => {
    const expected = site === "nearby" ? 403 : 401;
    await withoutEffect(site, async (visit) => {
      for (const path of reads) {
        const bare = path.split("?")[0] ?? "";
        await visit(async (page) => {
          for (const as of ["img", "script", "iframe", "link", "embed"] as const) {
            const from = stage.front.arrivals.length;
            await page.evaluate(load, { url: `${stage.front.origin}${path}`, as });
            const arrival = await arrivalAt(bare, from);
            expect([as, arrival.status, carriesLogin(arrival)]).toEqual([as, expected, site === "nearby"]);
          }
          const from = stage.front.arrivals.length;
          await page.evaluate(follow, `${stage.front.origin}${path}`);
          await page.waitForURL(`${stage.front.origin}${path}`);
          expect(["link", (await arrivalAt(bare, from)).status]).toEqual(["link", expected]);
        });
      }
    });
  });
});
