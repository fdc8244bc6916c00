import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestAuthority } from "../../support/test-authority.ts";
import { defended } from "../support/declaration.ts";
import { RawUpstream } from "../support/raw-upstream.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "what the operator opened to another vault, or what was closed again" });

describe("the networks of a vault", () => {
  let stage: Stage;
  let inside: RawUpstream;
  let insideCa: string;

  const settings = async (body: object, vault = "default") =>
    (await stage.server.api("PATCH", `/v1/vaults/${vault}/settings`, body)) as Record<string, unknown>;
  const ask = (options: { vault?: string; token?: string } = {}) =>
    stage.ask("/", { authority: `${hosts.git}:${inside.port}`, ...options });

  beforeAll(async () => {
    const authority = await TestAuthority.create("Inside");
    insideCa = authority.pem;
    inside = await RawUpstream.start({ certificate: await authority.issue([hosts.git]) });
    stage = await setStage({
      env: { AGENT_VAULT_NETWORK_ALLOWLIST: "", AGENT_VAULT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8" },
    });
    await stage.newVault("other", { UPSTREAM_TOKEN: secret });
    const services = [bearerService(`${hosts.git}:${inside.port}`)];
    await stage.services(services);
    await stage.services(services, "other");
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
    await inside[Symbol.asyncDispose]();
  });

  it("open what the operator offers to the vault that asks, and to no other", async () => {
    expect(JSON.parse((await ask()).body).error).toBe("blocked_by_network_policy");
    await settings({ network_allowlist: ["127.0.0.1"], upstream_ca: insideCa });
    expect((await ask()).status).toBe(200);
    const token = await stage.newToken("other");
    expect(JSON.parse((await ask({ token, vault: "other" })).body).error).toBe("blocked_by_network_policy");
    await settings({ network_allowlist: ["127.0.0.1"] }, "other");
    // The address is open to it now; the authority of the other vault still vouches for nothing here.
    expect(JSON.parse((await ask({ token, vault: "other" })).body).error).toBe("tls_verification_failed");
  });

  it("cannot hold more than is offered", async () => {
    for (const network of ["10.0.0.0/8", "0.0.0.0/0", "127.0.0.0/7", "169.254.169.254", "::/0"]) {
      await expect(settings({ network_allowlist: [network] })).rejects.toThrow(/400/);
    }
  });

  it("close again at once: the connection that was kept is not used once more", async () => {
    await settings({ network_allowlist: ["127.0.0.1"], upstream_ca: insideCa });
    inside.forget();
    expect((await ask()).status).toBe(200);
    expect((await ask()).status).toBe(200);
    expect(inside.received.length).toBeLessThanOrEqual(1);
    await settings({ network_allowlist: null });
    expect(JSON.parse((await ask()).body).error).toBe("blocked_by_network_policy");
    await settings({ network_allowlist: ["127.0.0.1"], upstream_ca: null });
    expect(JSON.parse((await ask()).body).error).toBe("tls_verification_failed");
  });

  it("end what is under way, inside of an open tunnel too", async () => {
    await settings({ network_allowlist: ["127.0.0.1"], upstream_ca: insideCa });
    inside.script = (connection) => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    using wire = await stage.tunnel({ authority: `${hosts.git}:${inside.port}` });
    wire.send(`GET /slow HTTP/1.1\r\nHost: ${hosts.git}:${inside.port}\r\n\r\n`);
    await expect.poll(() => wire.pending).toContain("half");
    await settings({ network_allowlist: [] });
    expect((await wire.answer()).isComplete).toBe(false);
  });

  it("never open a shut port or the broker's own", async () => {
    await settings({ network_allowlist: ["127.0.0.0/8"] });
    for (const port of [25, 6379, stage.server.apiPort, stage.server.proxyPort]) {
      const answer = await stage.askPlain("/", { authority: `127.0.0.1:${port}` });
      expect(JSON.parse(answer.body).error).toBe("blocked_by_network_policy");
    }
  });
});
