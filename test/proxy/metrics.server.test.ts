import { describe, expect, it } from "vitest";
import { TestProxy } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const services = [
  { name: "api", pattern: { host: "api.test" }, auth: { type: "bearer", token: "KEY" }, substitutions: [] },
] as const;

describe("the metrics of the proxy", () => {
  it("tell requests, connections and handshakes apart", async () => {
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["api.test"],
      script: (socket, received) => {
        if (!received.endsWith("\r\n\r\n")) return;
        const isStream = received.includes("/events");
        socket.write(
          isStream
            ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:"
            : "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
        );
      },
    });
    await using proxy = await TestProxy.start({ trusted, services, credentials: { KEY: "sk_live_secret" } });
    const host = `api.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    for (const method of ["GET", "GET", "TRACE"]) {
      client.send(`${method} /private HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await client.answer();
    }
    await using stream = await proxy.tunnel(host);
    stream.send(`GET /events HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await stream.until(":");
    await using stranger = await proxy.dial();
    stranger.send("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n");
    await stranger.answer();

    const text = proxy.metrics.render();
    const lines = text.split("\n");
    for (const line of [
      'agent_vault_proxy_requests_total{vault="billing",service="api",status="4xx",code=""} 2',
      'agent_vault_proxy_requests_total{vault="billing",service="",status="4xx",code="method_not_allowed"} 1',
      'agent_vault_proxy_request_duration_seconds_count{vault="billing",service="api"} 2',
      'agent_vault_proxy_first_byte_seconds_count{vault="billing",service="api"} 2',
      'agent_vault_proxy_first_byte_seconds_count{vault="billing",service=""} 0',
      'agent_vault_proxy_refusals_total{code="proxy_auth_required"} 1',
      'agent_vault_proxy_handshakes_total{result="ok"} 2',
      "agent_vault_proxy_connections 3",
      'agent_vault_proxy_open{kind="tunnel"} 2',
      'agent_vault_proxy_open{kind="request"} 0',
      'agent_vault_proxy_open{kind="event_stream"} 1',
      'agent_vault_proxy_open{kind="websocket"} 0',
    ]) {
      expect(lines).toContain(line);
    }
    expect(text).not.toContain("sk_live_secret");
    expect(text).not.toContain("/private");
  });

  it("do not grow with what agents make up", async () => {
    await using proxy = await TestProxy.start({ trusted, policy: "deny" });
    for (let i = 0; i < 20; i++) {
      await using client = await proxy.tunnel(`made-up-${i}.test:443`);
      client.send(`M${i} /${i} HTTP/1.1\r\nHost: made-up-${i}.test\r\n\r\n`);
      await client.answer();
    }
    const text = proxy.metrics.render();
    expect(text).toContain('{vault="billing",service="",status="4xx",code="no_match"} 20');
    expect(text).not.toContain("made-up");
  });
});
