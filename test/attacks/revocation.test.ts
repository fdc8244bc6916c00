import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bearerService, hosts, type Stage, secret, setStage } from "./support/stage.ts";
import type { Wire } from "./support/wire.ts";

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
    const token = await newAgent("grantless");
    using wire = await open({ token });
    await stage.server.api("DELETE", "/v1/vaults/default/agents/grantless");
    await refuses(wire);
  });

  it("ends with the agent", async () => {
    const token = await newAgent("revoked");
    using wire = await open({ token });
    await stage.server.api("DELETE", "/v1/agents/revoked");
    await refuses(wire);
  });

  it("ends with the agent's token, when that is replaced", async () => {
    const token = await newAgent("rotated");
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

  it("stops at a service that is switched off", async () => {
    using wire = await open({});
    await stage.server.api("PATCH", "/v1/vaults/default/services/upstream", { enabled: false });
    wire.send(request());
    const answer = await wire.answer();
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ error: "service_disabled" });
    expect(stage.secure.heads).toHaveLength(1);
  });

  it("stops at a service that is removed, once the vault denies unknown hosts", async () => {
    using wire = await open({});
    await stage.unmatchedHosts("deny");
    await stage.server.api("DELETE", "/v1/vaults/default/services/upstream");
    wire.send(request());
    const answer = await wire.answer();
    await stage.unmatchedHosts("passthrough");
    expect(answer.status).toBe(403);
    expect(stage.secure.heads).toHaveLength(1);
  });

  it("sends the new value of a credential, never again the old one", async () => {
    using wire = await open({});
    await stage.credentials({ UPSTREAM_TOKEN: "sk_live_Rotated0001" });
    wire.send(request());
    await wire.answer();
    await stage.credentials({ UPSTREAM_TOKEN: secret });
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`, "Bearer sk_live_Rotated0001"]);
  });

  it("sends nothing once the credential is deleted", async () => {
    using wire = await open({});
    await stage.server.api("DELETE", "/v1/credentials", { vault: "default", keys: ["UPSTREAM_TOKEN"] });
    wire.send(request());
    const answer = await wire.answer();
    await stage.credentials({ UPSTREAM_TOKEN: secret });
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.body)).toMatchObject({ error: "credential_not_found" });
    expect(stage.secure.heads).toHaveLength(1);
  });

  it("does not outlive its token as a WebSocket", async () => {
    stage.secure.script = (connection) => {
      if (!connection.received.endsWith("\r\n\r\n")) return connection.send("\x81\x04echo");
      const key = /^Sec-WebSocket-Key: (.*)$/im.exec(connection.received)?.[1]?.trim() ?? "";
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      const lines = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
      connection.send(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
    };
    const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const token = await newAgent("talker");
    using wire = await stage.tunnel({ token });
    wire.send(`GET /chat HTTP/1.1\r\nHost: ${api}\r\n${upgrade}\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    expect((await wire.answer("HEAD")).status).toBe(101);
    await newAgent("bystander");
    await stage.server.api("DELETE", "/v1/agents/bystander");
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    wire.send("\x81\x85\0\0\0\0frame");
    expect(await wire.next(6)).toBe("\x81\x04echo");

    await stage.server.api("DELETE", "/v1/agents/talker");
    await wire.untilClosed();
  });

  it.each([
    { what: "a download", head: "Content-Length: 1000000" },
    { what: "an event stream", head: "Content-Type: text/event-stream" },
  ])("does not let $what outlive its token, or its service", async ({ head }) => {
    const start = async (token: string): Promise<Wire> => {
      stage.secure.script = (connection) => connection.send(`HTTP/1.1 200 OK\r\n${head}\r\n\r\nfirst`);
      const wire = await stage.tunnel({ authority: api, token });
      wire.send(request());
      let seen = "";
      while (!seen.includes("first")) seen += await wire.next(1);
      return wire;
    };
    const name = `reader-${head.length}`;
    using revoked = await start(await newAgent(name));
    using kept = await start(stage.token);
    await stage.server.api("DELETE", `/v1/agents/${name}`);
    await revoked.untilClosed();
    await stage.server.api("PATCH", "/v1/vaults/default/services/upstream", { enabled: false });
    await kept.untilClosed();
  });

  it("goes on when something else is revoked, so that the refusals above mean something", async () => {
    using wire = await open({});
    const other = await newAgent("unrelated");
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

  async function newAgent(name: string): Promise<string> {
    const vaults = [{ vault_name: "default", vault_role: "proxy" }];
    const made = (await stage.server.api("POST", "/v1/agents", { name, vaults })) as { av_agent_token: string };
    return made.av_agent_token;
  }

  function request(): string {
    return `GET /v1/me HTTP/1.1\r\nHost: ${api}\r\n\r\n`;
  }
});
