import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "more requests, tunnels or time than a token has" });

describe("an agent that wants everything", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage({
      env: {
        AGENT_VAULT_RATELIMIT_PROFILE: "default",
        AGENT_VAULT_RATELIMIT_PROXY_RATE: "0.01",
        AGENT_VAULT_RATELIMIT_PROXY_BURST: "40",
        AGENT_VAULT_RATELIMIT_PROXY_CONCURRENCY: "3",
        AGENT_VAULT_MAX_TUNNELS_PER_TOKEN: "20",
        AGENT_VAULT_DRAIN_TIMEOUT: "300ms",
        AGENT_VAULT_METRICS_TOKEN: "metrics-token-0123456789",
      },
    });
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("does not get one request more by sending them in parallel", async () => {
    const token = await stage.newToken();
    const wires = await Promise.all(Array.from({ length: 20 }, () => stage.tunnel({ token })));
    const before = stage.secure.heads.length;
    const statuses: number[] = [];
    for (let round = 0; round < 4; round++) {
      for (const wire of wires) wire.send(`GET / HTTP/1.1\r\nHost: ${api}\r\n\r\n`);
      for (const wire of wires) statuses.push((await wire.answer()).status);
    }
    const served = statuses.filter((status) => status === 200).length;
    expect(served).toBeLessThanOrEqual(40);
    expect(served).toBeGreaterThan(0);
    expect(stage.secure.heads.length - before).toBe(served);
    expect(statuses.filter((status) => status !== 200)).toEqual(Array(80 - served).fill(429));
    for (const wire of wires) wire.close();
  });

  it("does not get more tunnels than its token has", async () => {
    const token = await stage.newToken();
    const wires = await Promise.all(Array.from({ length: 20 }, () => stage.tunnel({ token })));
    await expect(stage.tunnel({ token })).rejects.toMatchObject({ status: 429 });
    for (const wire of wires) wire.close();
  });

  it("leaves its traces in the metrics, and no secret", async () => {
    const ask = (token: string) =>
      fetch(`${stage.server.apiUrl}/metrics`, { headers: { authorization: `Bearer ${token}` } });
    const text = await (await ask("metrics-token-0123456789")).text();
    expect(text).toMatch(/^agent_vault_limit_denials_total\{limit="rate"\} [1-9]/m);
    expect(text).toMatch(/^agent_vault_limit_denials_total\{limit="concurrency"\} [1-9]/m);
    expect(text).toMatch(/^agent_vault_proxy_connection_denials_total [1-9]/m);
    expect(text).toMatch(/^agent_vault_leaf_mints_total [1-9]/m);
    expect(text).not.toMatch(/av_sess_|sk_live/);
    expect((await ask(stage.token)).status).toBe(403);
    expect((await fetch(`http://127.0.0.1:${stage.server.proxyPort}/metrics`)).status).toBe(400);
    expect((await fetch(`http://127.0.0.1:${stage.server.proxyPort}/health`)).status).toBe(200);
  });

  it("does not keep the server from stopping in good order", async () => {
    stage.secure.script = (connection) => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
    const token = await stage.newToken();
    using wire = await stage.tunnel({ token });
    wire.send(`GET / HTTP/1.1\r\nHost: ${api}\r\n\r\n`);
    while (!wire.pending.includes("part")) await new Promise((resolve) => setTimeout(resolve, 10));
    using plain = await Wire.dial(stage.server.proxyPort);
    plain.send(`GET http://x/ HTTP/1.1\r\nHost: x\r\n${proxyAuthorization({ token }, token)}`);
    expect(await stage.server.stop()).toMatchObject({ code: 0 });
    expect((await wire.answer()).isComplete).toBe(false);
  });
});
