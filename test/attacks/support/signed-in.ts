/** A server with an owner who is signed in with a browser, and strangers' sites around it. */
import { type BinaryServer, startBinaryServer } from "../../support/binary.ts";
import { registerOwner } from "../../support/brokered-upstream.ts";
import { type BrowserContext, TestBrowser } from "../../support/browser.ts";
import { TestAuthority } from "../../support/test-authority.ts";
import { ask } from "./in-page.mjs";
import { Front, Site } from "./web.ts";

export const ownerLogin = { email: "owner@example.com", password: "correct-pass-1" } as const;

/** How a server is reached, and who else is near it. */
export const places = {
  /** On this machine, as a server starts without any setting. The strangers share the cookies of the host. */
  loopback: { host: "127.0.0.1", isSecure: false, nearby: "127.0.0.1", elsewhere: "evil.example.org" },
  /** Behind TLS, with a sibling subdomain that is somebody else's. */
  tls: { host: "vault.corp.example", isSecure: true, nearby: "evil.corp.example", elsewhere: "evil.example.org" },
} as const;
export type PlaceName = keyof typeof places;

export interface SignedIn extends AsyncDisposable {
  readonly server: BinaryServer;
  readonly browser: TestBrowser;
  /** What people type to reach the server. */
  readonly front: Front;
  /** Same site as the server, another origin: its requests carry the cookie. */
  readonly nearby: Site;
  /** Another site. */
  readonly elsewhere: Site;
  /** Cookies that the pages of `nearby` set. */
  plantedCookies: readonly string[];
  readonly person: BrowserContext;
  /** The newest entry of the audit log: nothing has changed while it stays the same. */
  newestChange(): Promise<number>;
}

export async function signIn(place: PlaceName, env: Readonly<Record<string, string>> = {}): Promise<SignedIn> {
  const { host, isSecure, nearby, elsewhere } = places[place];
  const authority = await TestAuthority.create();
  const certificate = isSecure ? { certificate: await authority.issue([host, nearby, elsewhere]) } : {};
  const front = await Front.open(host, certificate.certificate);
  const server = await startBinaryServer({
    env: { AGENT_VAULT_ADDR: front.origin, AGENT_VAULT_RATELIMIT_PROFILE: "off", ...env },
  });
  front.leadTo(server.apiPort);
  await registerOwner(server);
  const planted: { list: readonly string[] } = { list: [] };
  const sites = [
    await Site.open(nearby, { ...certificate, cookies: () => planted.list }),
    await Site.open(elsewhere, certificate),
  ] as const;
  const browser = await TestBrowser.launch();
  const person = await browser.person();
  await logIn(person, front);
  return {
    server,
    browser,
    front,
    nearby: sites[0],
    elsewhere: sites[1],
    person,
    get plantedCookies() {
      return planted.list;
    },
    set plantedCookies(cookies) {
      planted.list = cookies;
    },
    newestChange: async () => {
      const { entries } = (await server.api("GET", "/v1/audit?limit=1")) as { entries: { id: number }[] };
      return entries[0]?.id ?? 0;
    },
    [Symbol.asyncDispose]: async () => {
      await browser[Symbol.asyncDispose]();
      for (const part of [...sites, front]) await part[Symbol.asyncDispose]();
      await server.stop();
    },
  };
}

/** Signs in as the pages of the product do: a request of its own origin. */
export async function logIn(
  person: BrowserContext,
  front: Front,
  login: { readonly email: string; readonly password: string } = ownerLogin,
): Promise<void> {
  const answer = await fromOwnPage(person, front, {
    method: "POST",
    path: "/v1/auth/login",
    body: JSON.stringify(login),
  });
  if (answer.status !== 200) throw new Error(`signing in: ${answer.status} ${answer.text}`);
}

/** A request of a page of the server itself. */
export async function fromOwnPage(
  person: BrowserContext,
  front: Front,
  request: { readonly method?: string; readonly path: string; readonly body?: string },
): Promise<{ readonly status: number; readonly text: string }> {
  const page = await person.newPage();
  try {
    // Any answer of ours is a page of our origin.
    await page.goto(`${front.origin}/health`);
    const { path, ...rest } = request;
    const answer = await page.evaluate(ask, {
      ...rest,
      url: `${front.origin}${path}`,
      ...(request.body !== undefined && { type: "application/json" }),
    });
    if ("refused" in answer) throw new Error(`${path}: ${answer.refused}`);
    return answer;
  } finally {
    await page.close();
  }
}
