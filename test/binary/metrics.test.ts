import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";
import { registerOwner } from "../support/brokered-upstream.ts";
import { parseExposition } from "../support/exposition.ts";
import { OtlpReceiver } from "../support/otlp-receiver.ts";
import { askThroughProxy } from "../support/plain-request.ts";

const metricsToken = "metrics-token-0123456789";

describe("the metrics of a server", () => {
  let home = "";
  let server: BinaryServer;
  let receiver: OtlpReceiver;
  let token = "";

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "agent-vault-home-"));
    receiver = await OtlpReceiver.start();
    server = await startBinaryServer({
      home,
      env: {
        AGENT_VAULT_METRICS_TOKEN: metricsToken,
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${receiver.url}/v1/metrics`,
        OTEL_METRIC_EXPORT_INTERVAL: "100",
      },
    });
    await registerOwner(server);
    token = (await server.cli(["vault", "token"])).trim();
    for (let at = 0; at < 3; at++) await askThroughProxy(server, token, `http://127.0.0.1:1/${at}`);
  });
  afterAll(async () => {
    await server.stop();
    await receiver[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  });

  const scrape = async () => {
    const answer = await fetch(`${server.apiUrl}/metrics`, { headers: { authorization: `Bearer ${metricsToken}` } });
    return answer.text();
  };

  it("are what a strict scraper reads, and tell what happened", async () => {
    await expect.poll(async () => await scrape()).toContain("agent_vault_journal_written_total 3\n");
    const text = await scrape();
    const families = parseExposition(text);
    const value = (key: string) => families.get(key.replace(/\{.*/, ""))?.samples.get(key);
    const code = 'vault="default",service="",status="5xx",code="blocked_by_network_policy"';
    expect(value(`agent_vault_proxy_requests_total{${code}}`)).toBe(3);
    expect(value("agent_vault_journal_waiting")).toBe(0);
    expect(value("agent_vault_journal_spilled_total")).toBe(0);
    expect(value("agent_vault_journal_database_away")).toBe(0);
    expect(value('agent_vault_api_requests_total{status="2xx"}')).toBeGreaterThan(0);
    expect(value("process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(value("process_open_fds")).toBeGreaterThan(3);
    const tenYears = 3650 * 86_400;
    const end = value("agent_vault_root_certificate_expiry_timestamp_seconds") ?? 0;
    expect(Math.abs(end - Date.now() / 1000 - tenYears)).toBeLessThan(86_400);
    const watched = families.get("agent_vault_event_loop_delay_seconds")?.samples;
    expect(watched?.get("agent_vault_event_loop_delay_seconds_count")).toBeGreaterThan(0);
    expect(text).not.toContain(token);
    expect(text).not.toContain(metricsToken);
  });

  it("are all in the documents, and told over OTLP as well", async () => {
    const { readFileSync } = await import("node:fs");
    const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "observability.md"), "utf8");
    const names = [...parseExposition(await scrape()).keys()];
    expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
    await expect.poll(() => receiver.metrics.length).toBeGreaterThan(15);
    expect(receiver.complaints).toEqual([]);
    const told = receiver.metrics.find(({ name }) => name === "agent_vault_proxy_requests");
    expect(told?.sum?.dataPoints).toMatchObject([{ asInt: "3", attributes: { code: "blocked_by_network_policy" } }]);
  });
});
