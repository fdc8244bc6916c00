import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { expectRefusal, metadata } from "../support/inside.ts";
import { hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "the broker's own API, or the proxy itself, or metadata, where private addresses are allowed" });

describe("an agent of a broker that may use private ranges", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage({ env: { AGENT_VAULT_ALLOW_PRIVATE_RANGES: "true", AGENT_VAULT_NETWORK_ALLOWLIST: "" } });
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("reaches a local service, which is what the setting is for", async () => {
    expect((await stage.askPlain("/", { authority: `127.0.0.1:${stage.plain.port}` })).status).toBe(200);
  });

  it.each([
    "127.0.0.1",
    "127.0.0.2",
    "0.0.0.0",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:0.0.0.0]",
    "localhost",
    hosts.api,
  ])("does not reach the broker's own API as %s", async (host) => {
    const answer = await stage.askPlain("/health", { authority: `${host}:${stage.server.apiPort}` });
    expectRefusal(answer.status);
    expect(answer.values("x-agent-vault-proxy-error")).toEqual(["true"]);
  });

  it.each(["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"])("does not reach the proxy itself as %s", async (host) => {
    const answer = await stage.askPlain("/", { authority: `${host}:${stage.server.proxyPort}` });
    expectRefusal(answer.status);
  });

  it.each(metadata)("does not reach the metadata service as %s", async (host) => {
    const answer = await stage.askPlain("/", { authority: `${host}:80` });
    expectRefusal(answer.status);
    expect(JSON.parse(answer.body)).not.toMatchObject({ error: "upstream_timeout" });
  });
});
