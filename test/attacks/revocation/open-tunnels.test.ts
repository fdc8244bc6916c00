import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newAgent } from "../support/agents.ts";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";
import type { Wire } from "../support/wire.ts";

defended({ wants: "to go on in a tunnel that was opened with what is revoked now" });

// A tunnel can stay open for days. What it was opened with must not be what it lives on.
describe("a tunnel that stays open", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
  });

  beforeEach(async () => {
    await stage.services([bearerService(api)]);
    stage.secure.forget();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("ends with its token: the next request is refused", async () => {
    const token = await stage.newToken();
    using wire = await open({ token });
    const { sessions } = (await stage.server.api("GET", "/v1/sessions?vault=default")) as {
      sessions: { id: string; created_at: string }[];
    };
    // Newest first.
    await stage.server.api("DELETE", `/v1/sessions/${sessions[0]?.id}?vault=default`);
    await refuses(wire);
  });

  it("ends with the agent's grant on the vault", async () => {
    const token = await newAgent(stage, "grantless");
    using wire = await open({ token });
    await stage.server.api("DELETE", "/v1/vaults/default/agents/grantless");
    await refuses(wire);
  });

  it("ends with the agent", async () => {
    const token = await newAgent(stage, "revoked");
    using wire = await open({ token });
    await stage.server.api("DELETE", "/v1/agents/revoked");
    await refuses(wire);
  });

  it("ends with the agent's token, when that is replaced", async () => {
    const token = await newAgent(stage, "rotated");
    using wire = await open({ token });
    await stage.server.api("POST", "/v1/agents/rotated/rotate");
    await refuses(wire);
  });

  it("ends with the vault, and is not left as a plain relay", async () => {
    await stage.newVault("doomed", { UPSTREAM_TOKEN: secret });
    await stage.services([bearerService(api)], "doomed");
    const token = await stage.newToken("doomed");
    using wire = await open({ token });
    await stage.server.api("DELETE", "/v1/vaults/doomed");
    await refuses(wire);
  });

  it("goes on when something else is revoked, so that the refusals above mean something", async () => {
    using wire = await open({});
    const other = await newAgent(stage, "unrelated");
    expect(other).toMatch(/^av_agt_/);
    await stage.server.api("DELETE", "/v1/agents/unrelated");
    wire.send(request());
    expect((await wire.answer()).status).toBe(200);
  });

  /** A tunnel on which one request went through. */
  async function open(how: { readonly token?: string }): Promise<Wire> {
    const wire = await stage.tunnel({ authority: api, ...how });
    wire.send(request());
    expect((await wire.answer()).status).toBe(200);
    return wire;
  }

  async function refuses(wire: Wire): Promise<void> {
    wire.send(request());
    const answer = await wire.answerOrEnd();
    if (answer !== undefined) expect([401, 403, 404, 407], answer.body).toContain(answer.status);
    expect(stage.secure.heads).toHaveLength(1);
  }

  function request(): string {
    return `GET /v1/me HTTP/1.1\r\nHost: ${api}\r\n\r\n`;
  }
});
