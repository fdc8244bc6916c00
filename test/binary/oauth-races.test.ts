/** An access token that has ended, and many requests for it at the same moment, through every server there is. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { runProgram } from "../support/binary.ts";
import { OAuthProvider } from "../support/oauth-provider.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";
import { ServerGroup } from "../support/server-group.ts";

const owner = { email: "owner@example.com", password: "correct-pass-1" };
const requests = 10;

it.each(["sqlite", "postgres"] as const)("is renewed once for all of them (%s)", async (engine) => {
  await using provider = await OAuthProvider.start("other.upstream.test");
  const upstream = await startRecordingUpstream({ authority: provider.authority, names: ["api.upstream.test"] });
  const folder = await mkdtemp(join(tmpdir(), "agent-vault-oauth-races-"));
  const trusted = join(folder, "ca.pem");
  await writeFile(trusted, provider.authority.pem);
  await using group = await ServerGroup.start(engine, {
    AGENT_VAULT_UPSTREAM_CA_FILE: trusted,
    AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8",
    AGENT_VAULT_RATELIMIT_PROFILE: "off",
  });
  try {
    const { token } = await group.expect(201, "POST", "/v1/auth/register", { body: owner });
    await group.initialized();
    const asOwner = (method: string, path: string, body: object) =>
      group.expect(200, method, path, { token: String(token), body });
    provider.expiresInSeconds = 2;
    await asOwner("POST", "/v1/credentials/oauth/tokens", {
      vault: "default",
      key: "IDP",
      refresh_token: provider.mintRefreshToken(),
      token_url: provider.tokenUrl,
      client_id: provider.clientId,
      client_secret: provider.clientSecret,
    });
    const host = `api.upstream.test:${upstream.port}`;
    await group.call("POST", "/v1/vaults/default/services", {
      token: String(token),
      body: { services: [{ name: "api", host, auth: { type: "bearer", token: "IDP" } }] },
    });
    const { token: agent } = await asOwner("POST", "/v1/sessions", { vault: "default" });
    // One root for all servers of a database.
    const ca = join(folder, "broker.pem");
    await writeFile(ca, await (await fetch(`${group.servers[0]?.apiUrl}/v1/mitm/ca.pem`)).text());

    /** Many requests through each server, all at once; every one carries a token that the provider takes. */
    const askEverywhere = async () => {
      upstream.forget();
      const urls = Array.from({ length: requests }, (_, index) => `https://${host}/${index}`);
      const curls = group.servers.map((server) => {
        const proxy = ["--proxy", `http://${agent}:default@127.0.0.1:${server.proxyPort}`, "--cacert", ca];
        const flags = [
          "-sS",
          "--parallel",
          "--parallel-immediate",
          "--no-progress-meter",
          "-H",
          "Authorization: Bearer placeholder",
        ];
        return runProgram("curl", [...flags, ...proxy, ...urls]);
      });
      for (const { code, stderr } of await Promise.all(curls)) expect([code, stderr]).toEqual([0, ""]);
      const carried = upstream.requests.map((request) => request.values("authorization")[0] ?? "");
      expect(carried).toHaveLength(requests * group.servers.length);
      return [...new Set(carried.map((value) => value.replace("Bearer ", "")))];
    };
    for (let round = 0; round < 3; round++) {
      await sleep(2_100);
      const before = provider.refreshes().length;
      provider.expiresInSeconds = round < 2 ? 2 : 3600;
      // A provider that takes its time: all of them wait for one.
      provider.misbehave = async () => {
        await sleep(200);
        return false;
      };
      const carried = await askEverywhere();
      expect([round, carried.map((each) => provider.accepts(each))]).toEqual([round, [true]]);
      expect([round, provider.refreshes().length - before]).toEqual([round, 1]);
    }
    // A used refresh token that comes again ends the whole connection at such a provider.
    expect(provider.replays).toBe(0);
  } finally {
    await upstream.close();
    await rm(folder, { recursive: true, force: true });
  }
});
