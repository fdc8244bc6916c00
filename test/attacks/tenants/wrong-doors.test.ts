import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to proxy with a person's login, or to manage the vault with a token for the proxy" });

describe("a token at the wrong door", () => {
  let stage: Stage;
  let api: string;
  let personToken: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
    await stage.newVault("other", { UPSTREAM_TOKEN: "sk_live_OfTheOtherVault55" });
    const session = await readFile(join(stage.server.home, ".agent-vault", "session.json"), "utf8");
    personToken = (JSON.parse(session) as { token: string }).token;
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("does not proxy as a person: a login is for people", async () => {
    for (const vault of [undefined, "default"]) {
      const how = { authority: api, token: personToken, ...(vault !== undefined && { vault }) };
      const status = await stage.tunnel(how).then(
        () => 200,
        (error: { status?: number }) => error.status,
      );
      expect(status).toBeGreaterThanOrEqual(400);
    }
  });

  it("learns nothing with a proxy token at the API's doors for people", async () => {
    const headers = { authorization: `Bearer ${stage.token}` };
    const reveal = await fetch(`${stage.server.apiUrl}/v1/credentials?vault=default&reveal=true`, { headers });
    expect(reveal.status).toBe(403);
    expect(await reveal.text()).not.toContain(secret);
    const list = await fetch(`${stage.server.apiUrl}/v1/credentials?vault=default`, { headers });
    expect(await list.text()).not.toContain(secret);
    const other = await fetch(`${stage.server.apiUrl}/v1/credentials?vault=other`, { headers });
    expect([403, 404]).toContain(other.status);
    const write = await fetch(`${stage.server.apiUrl}/v1/vaults/default/services`, {
      method: "PUT",
      headers,
      body: JSON.stringify({ services: [] }),
    });
    expect(write.status).toBe(403);
  });
});
