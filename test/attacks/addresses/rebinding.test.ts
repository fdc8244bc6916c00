import { describe, expect, it } from "vitest";
import { DnsServer } from "../../support/dns-server.ts";
import { defended } from "../support/declaration.ts";
import { setStage } from "../support/stage.ts";

defended({ wants: "an address inside, by a name that led elsewhere when it was first looked up" });

describe("a name whose address changes", () => {
  it("is judged by what it is each time, whatever it was before", async () => {
    await using dns = await DnsServer.start({ "rebind.example": { a: ["127.0.0.1"], ttl: 1 } });
    await using stage = await setStage({ env: { AGENT_VAULT_DNS_SERVERS: dns.address } });
    const authority = `rebind.example:${stage.plain.port}`;
    // Each on a connection of its own, so that each is dialled.
    stage.plain.script = (connection) =>
      connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    expect((await stage.askPlain("/", { authority })).status).toBe(200);
    dns.zones["rebind.example"] = { a: ["127.0.0.1", "10.0.0.1"], ttl: 1 };
    await expect
      .poll(async () => (await stage.askPlain("/", { authority })).body, { timeout: 10_000 })
      .toContain("blocked_by_network_policy");
    dns.zones["rebind.example"] = { a: ["169.254.169.254"], ttl: 1 };
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const answer = await stage.askPlain("/", { authority });
    expect(JSON.parse(answer.body).error).toBe("blocked_by_network_policy");
  });
});
