import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";
import { registerOwner } from "../support/brokered-upstream.ts";
import { OAuthProvider } from "../support/oauth-provider.ts";
import { type RecordingUpstream, startRecordingUpstream } from "../support/recording-upstream.ts";

/** Tokens that the upstream has had enough of, as after a revocation: the provider's own clock says they are good. */
const refused = new Set<string>();
let refusesAll = false;
let provider: OAuthProvider;
let upstream: RecordingUpstream;
let server: BinaryServer;
let folder: string;

beforeAll(async () => {
  provider = await OAuthProvider.start("other.upstream.test");
  upstream = await startRecordingUpstream({
    authority: provider.authority,
    names: ["api.upstream.test"],
    answer: ({ values, body }, response) => {
      const token = values("authorization")[0] ?? "";
      if (refusesAll || refused.has(token)) {
        response.writeHead(401, { "WWW-Authenticate": 'Bearer error="invalid_token"', "X-Kept": "yes" });
        response.end("that token has ended\n");
      } else response.end(`good, with ${body.length} bytes, now ${token}, before ${[...refused].at(-1)}\n`);
    },
  });
  folder = await mkdtemp(join(tmpdir(), "agent-vault-oauth-"));
  const trusted = join(folder, "ca.pem");
  await writeFile(trusted, provider.authority.pem);
  server = await startBinaryServer({
    env: { AGENT_VAULT_UPSTREAM_CA_FILE: trusted, AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8" },
  });
  await registerOwner(server);
});

/** A credential of its own for each test: one that was just renewed is not renewed again within a minute. */
let key = "IDP_0";
let version = "--http1.1";

beforeEach(async ({ task }) => {
  refusesAll = false;
  provider.misbehave = undefined;
  key = `IDP_${task.id.replaceAll(/\W/g, "_").toUpperCase()}`;
  const flags = ["--token-url", provider.tokenUrl, "--client-id", provider.clientId, "--client-secret-stdin"];
  await server.cli(["vault", "credential", "oauth", "tokens", key, ...flags], {
    stdin: `${provider.clientSecret}\n${provider.mintRefreshToken()}\n`,
  });
  const service = ["--name", "api", "--host", `api.upstream.test:${upstream.port}`, "--auth-type", "bearer"];
  await server.run(["vault", "service", "remove", "api", "--yes"]);
  await server.cli(["vault", "service", "add", ...service, "--token-key", key]);
  await endToken();
});

afterAll(async () => {
  await server?.stop();
  await upstream?.close();
  await provider?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** What curl prints, head and body. */
async function ask(...words: string[]): Promise<string> {
  const done = await server.run([
    "run",
    "--",
    "curl",
    "-sS",
    "-i",
    "--suppress-connect-headers",
    version,
    ...words,
    url(),
  ]);
  expect(done.stderr).not.toContain("curl:");
  return done.stdout;
}

const url = () => `https://api.upstream.test:${upstream.port}/`;

/** From now on the upstream refuses the token that it gets at present. */
async function endToken(): Promise<void> {
  upstream.forget();
  await ask();
  refused.add(upstream.requests.at(-1)?.values("authorization")[0] ?? "");
  upstream.forget();
  provider.tokenRequests.splice(0);
}

describe.each(["--http1.1", "--http2"])("an upstream that refuses a token, asked with curl %s,", (flag) => {
  beforeEach(() => {
    version = flag;
  });

  it("answers with the second try when the upstream refuses a token before its time", async () => {
    const answer = await ask();
    expect(answer).toMatch(/^HTTP\/[.\d]+ 200 [\s\S]*good, with 0 bytes/);
    // Neither the token that went out first nor the one that helped.
    for (const { values } of upstream.requests) {
      expect(answer).not.toContain((values("authorization")[0] ?? "none").replace("Bearer ", ""));
    }
    expect([upstream.requests.length, provider.tokenRequests.length]).toEqual([2, 1]);
    // The one after that is right at once.
    await ask();
    expect(upstream.requests.length).toBe(3);
  });

  it.each([
    { framing: "by length", words: [] },
    { framing: "in chunks", words: ["-H", "Transfer-Encoding: chunked"] },
  ])("says a small body that is sent $framing again", async ({ words }) => {
    expect(await ask("-X", "POST", ...words, "--data", "x".repeat(3_000))).toContain("good, with 3000 bytes");
    expect(upstream.requests.map(({ body }) => body.length)).toEqual([3_000, 3_000]);
  });

  it("passes the 401 on as it came when the body is too large to be kept", async () => {
    const file = join(folder, "large");
    await writeFile(file, "x".repeat(300_000));
    const answer = await ask("-X", "POST", "-H", "Expect:", "--data-binary", `@${file}`);
    expect(answer).toMatch(/^HTTP\/[.\d]+ 401 [\s\S]*[Xx]-[Kk]ept: yes[\s\S]*that token has ended\n$/);
    expect([upstream.requests.length, provider.tokenRequests.length]).toEqual([1, 0]);
  });

  it("tries once: what is refused again is the answer", async () => {
    refusesAll = true;
    expect(await ask()).toMatch(/^HTTP\/[.\d]+ 401 [\s\S]*that token has ended\n$/);
    expect(upstream.requests.length).toBe(2);
  });

  it("keeps the first answer whole when there is no other token", async () => {
    provider.misbehave = (_request, response) => {
      response.writeHead(503);
      response.end();
      return true;
    };
    expect(await ask()).toMatch(/^HTTP\/[.\d]+ 401 [\s\S]*[Xx]-[Kk]ept: yes[\s\S]*that token has ended\n$/);
    expect(upstream.requests.length).toBe(1);
  });

  it("asks the provider once for all who were refused", async () => {
    const parallel = ["--parallel", "--parallel-immediate", ...Array.from({ length: 12 }, url)];
    const done = await server.run([
      "run",
      "--",
      "curl",
      "-sS",
      version,
      "-w",
      "%{http_code}\n",
      "-o",
      "/dev/null",
      ...parallel,
    ]);
    expect(done.stdout).not.toContain("401");
    expect(provider.tokenRequests.length).toBe(1);
    expect(provider.replays).toBe(0);
  });
});
