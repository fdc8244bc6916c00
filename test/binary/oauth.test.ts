import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";
import { registerOwner } from "../support/brokered-upstream.ts";
import { OAuthProvider } from "../support/oauth-provider.ts";
import { type RecordingUpstream, startRecordingUpstream } from "../support/recording-upstream.ts";

const browser = { accept: "text/html", "user-agent": "Mozilla/5.0", "sec-fetch-mode": "navigate" };

let provider: OAuthProvider;
let upstream: RecordingUpstream;
let server: BinaryServer;
let folder: string;

beforeAll(async () => {
  provider = await OAuthProvider.start("other.upstream.test");
  upstream = await startRecordingUpstream({ authority: provider.authority, names: ["api.upstream.test"] });
  folder = await mkdtemp(join(tmpdir(), "agent-vault-oauth-"));
  const trusted = join(folder, "ca.pem");
  await writeFile(trusted, provider.authority.pem);
  server = await startBinaryServer({
    env: { AGENT_VAULT_UPSTREAM_CA_FILE: trusted, AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8" },
    args: ["--log-level", "debug"],
  });
  await registerOwner(server);
  const service = ["--name", "api", "--host", `api.upstream.test:${upstream.port}`, "--auth-type", "bearer"];
  await server.cli(["vault", "service", "add", ...service, "--token-key", "IDP"]);
});

afterAll(async () => {
  await server?.stop();
  await upstream?.close();
  await provider?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const credential = (...words: string[]) => server.cli(["vault", "credential", ...words]);

/** From the printed address to the code on the page, as a person and a browser do it. */
async function consent(authorizationUrl: string): Promise<string> {
  const page = await fetch(provider.consent(authorizationUrl), { headers: browser });
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  return /<code>([\w-]+)<\/code>/.exec(await page.text())?.[1] ?? "";
}

async function tokenThatArrives(): Promise<string> {
  const url = `https://api.upstream.test:${upstream.port}/`;
  upstream.forget();
  await server.cli(["run", "--", "curl", "-sS", "-H", "Authorization: Bearer placeholder", url]);
  return (upstream.requests[0]?.values("authorization")[0] ?? "").replace("Bearer ", "");
}

it("connects a credential from the command line, brokers with it, and renews it when it ends", async () => {
  provider.expiresInSeconds = 2;
  const addresses = ["--authorization-url", provider.authorizationUrl, "--token-url", provider.tokenUrl];
  const stdin = { stdin: `${provider.clientSecret}\n` };
  const connect = ["vault", "credential", "oauth", "connect", "IDP"];
  const begun = await server.run(
    [...connect, ...addresses, "--client-id", provider.clientId, "--client-secret-stdin"],
    stdin,
  );
  expect(begun.code).toBe(0);
  expect(begun.stderr).toContain("vault credential oauth confirm IDP CODE");
  expect(await credential("oauth", "status", "IDP")).toMatch(/Connected: +no/);

  const code = await consent(begun.stdout.trim());
  const wrong = await server.run(["vault", "credential", "oauth", "confirm", "IDP", "2222-2222"]);
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("waits for this code")]);
  expect(await credential("oauth", "confirm", "IDP", code)).toMatch(/Connected: +yes/);

  // The token lives two seconds: after that a request gets a new one, and the refresh tokens follow one another.
  const first = await tokenThatArrives();
  await sleep(2_100);
  const second = await tokenThatArrives();
  expect([provider.accepts(first), provider.accepts(second), first === second]).toEqual([true, true, false]);
  expect(provider.replays).toBe(0);

  // Once more with the key alone: settings and secret are those that are stored.
  provider.expiresInSeconds = 3600;
  const again = await credential("oauth", "connect", "IDP", "--json");
  const { authorization_url: url } = JSON.parse(again) as { authorization_url: string };
  expect(await credential("oauth", "confirm", "IDP", await consent(url))).toMatch(/Connected: +yes/);
  expect(provider.accepts(await tokenThatArrives())).toBe(true);

  const secrets = [provider.clientSecret, first, second];
  for (const secret of secrets) {
    expect(server.log()).not.toContain(secret);
    expect(begun.stdout + begun.stderr).not.toContain(secret);
  }
  expect(await credential("oauth", "disconnect", "IDP", "--yes")).toContain("disconnected");
  const refused = await server.run(["run", "--", "curl", "-sS", `https://api.upstream.test:${upstream.port}/`]);
  expect(refused.stdout).toContain("oauth_not_connected");
});

it("takes a refresh token from standard input and names presets", async () => {
  const flags = ["--token-url", provider.tokenUrl, "--client-id", provider.clientId, "--client-secret-stdin"];
  const stdin = `${provider.clientSecret}\n${provider.mintRefreshToken()}\n`;
  const stored = await server.cli(["vault", "credential", "oauth", "tokens", "GIVEN", ...flags], { stdin });
  expect(stored).toContain("GIVEN is connected");
  expect(provider.accepts(await credential("get", "GIVEN"))).toBe(true);
  expect(await credential("oauth", "providers")).toContain("GitHub");
  const unknown = await server.run(["vault", "credential", "oauth", "connect", "NEW"]);
  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("--provider github")]);
});

it("lists versions and brings one back, and shows what is noted", async () => {
  await server.cli(["vault", "credential", "set", "KEY", "--stdin"], { stdin: "one" });
  const flags = ["--stdin", "--description", "the live key", "--expires", "2020-01-31"];
  await server.cli(["vault", "credential", "set", "KEY", ...flags], { stdin: "two" });
  const listed = await server.run(["vault", "credential", "list"]);
  expect(listed.stdout).toContain("the live key");
  expect(listed.stderr).toContain("KEY ended on 2020-01-31");
  const versions = await credential("versions", "KEY");
  expect(versions).toMatch(/2 .*owner@example.com .*current/);
  expect(versions).not.toMatch(/one|two/);
  expect(await credential("restore", "KEY", "1", "--yes")).toContain("as version 3");
  expect(await credential("get", "KEY")).toBe("one");
  expect((await server.run(["vault", "credential", "restore", "KEY", "1"])).stderr).toContain("--yes");
  expect((await server.run(["vault", "credential", "restore", "KEY", "99", "--yes"])).code).toBe(1);
  await credential("edit", "KEY", "--description", "", "--expires", "2099-01-01");
  expect(await credential("list")).not.toContain("the live key");
  expect((await server.run(["vault", "credential", "edit", "KEY", "--expires", "soon"])).stderr).toContain(
    "2027-01-31",
  );
});
