import { createHmac } from "node:crypto";
import { createServer } from "node:net";
import { createSecureContext } from "node:tls";
import { afterEach, beforeAll, expect, it } from "vitest";
import { Keyring } from "../../../src/crypto/keyring.ts";
import { Audit } from "../../../src/domain/audit/audit.ts";
import { operator } from "../../../src/domain/audit/author.ts";
import { Webhooks } from "../../../src/domain/proposals/webhooks.ts";
import { AppError } from "../../../src/errors.ts";
import { silentLogger } from "../../../src/log.ts";
import { Outbound } from "../../../src/net/outbound.ts";
import { NetworkPolicy } from "../../../src/net/policy.ts";
import { Changes } from "../../../src/storage/changes.ts";
import type { Database } from "../../../src/storage/database.ts";
import { ManualClock } from "../../support/api-server.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { TestAuthority } from "../../support/test-authority.ts";
import { type RawUpstream, startRawUpstream } from "../../support/upstream.ts";
import { defaultVaultId } from "../../support/vault-world.ts";

let authority: TestAuthority;
beforeAll(async () => {
  authority = await TestAuthority.create();
});

describeEachDatabase("webhooks", (open) => {
  const running: AsyncDisposable[] = [];
  afterEach(async () => {
    for (const one of running.splice(0)) await one[Symbol.asyncDispose]();
  });

  interface Set {
    readonly allowsPrivate?: boolean;
    readonly retryDelaysMs?: readonly number[];
    readonly resolve?: (host: string) => Promise<readonly string[]>;
    readonly allowsPlainHttp?: boolean;
  }

  async function start({ allowsPrivate = true, retryDelaysMs = [1, 1], resolve, allowsPlainHttp = false }: Set = {}) {
    const database: Database = await open();
    const policy = new NetworkPolicy({ allowPrivateRanges: allowsPrivate, allowlist: [] });
    const trust = createSecureContext({ ca: [authority.pem] });
    const outbound = new Outbound({ policy, trust, ...(resolve && { resolve }) });
    const keyring = await Keyring.open([{ number: 1, raw: crypto.getRandomValues(new Uint8Array(32)) }]);
    const clock = new ManualClock();
    const changes = new Changes(database, silentLogger);
    const webhooks = new Webhooks({
      database,
      changes,
      audit: new Audit({ changes, clock }),
      keyring,
      clock,
      log: silentLogger,
      outbound,
      allowsPlainHttp,
      retryDelaysMs,
    });
    return { webhooks, database, policy };
  }

  /** A receiver at `localhost` that answers with these statuses, one after the other, then with 200. */
  async function receive(statuses: readonly (number | string)[] = []): Promise<RawUpstream> {
    const upstream = await startRawUpstream({
      authority,
      names: ["localhost", "hooks.example.com"],
      script: (socket, received, connection) => {
        const [head, body] = received.split("\r\n\r\n");
        const length = Number(/content-length: (\d+)/.exec(head ?? "")?.[1]);
        if (body === undefined || Buffer.byteLength(body, "latin1") < length) return;
        const status = statuses[connection] ?? 200;
        socket.end(typeof status === "string" ? status : `HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`);
      },
    });
    running.push(upstream);
    return upstream;
  }

  const resultOf = async (webhooks: Webhooks) => (await webhooks.get(defaultVaultId)).lastResult;
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => "done",
      (error: unknown) => (error instanceof AppError ? error.code : String(error)),
    );

  it("are called with a signature that the receiver can check, and with the body as it was signed", async () => {
    const upstream = await receive();
    const { webhooks } = await start();
    const secret = await webhooks.set(operator, defaultVaultId, `https://localhost:${upstream.port}/hook?team=a%20b`);
    await webhooks.deliver(defaultVaultId, "proposal.created", { proposal: { id: 1, message: "ä\r\nX-Evil: 1" } });
    await expect.poll(() => resultOf(webhooks)).toBe("ok");
    await webhooks.close();
    const [head = "", body = ""] = (upstream.received[0] ?? "").split("\r\n\r\n");
    const header = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(head)?.[1]?.trim() ?? "";
    expect(head.split("\r\n")[0]).toBe("POST /hook?team=a%20b HTTP/1.1");
    expect(header("host")).toBe(`localhost:${upstream.port}`);
    expect(head).not.toMatch(/^x-evil/im);
    const text = Buffer.from(body, "latin1").toString("utf8");
    expect(JSON.parse(text)).toMatchObject({
      type: "proposal.created",
      data: { proposal: { message: "ä\r\nX-Evil: 1" } },
    });
    const key = Buffer.from(secret.reveal().replace("whsec_", ""), "base64");
    const signed = `${header("webhook-id")}.${header("webhook-timestamp")}.${text}`;
    expect(header("webhook-signature")).toBe(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
    expect(await resultOf(webhooks)).toBe("ok");
  });

  it("are tried again under the same id until they succeed, and no longer", async () => {
    const upstream = await receive([500, 302]);
    const { webhooks } = await start({ retryDelaysMs: [1, 1, 1, 1] });
    await webhooks.set(operator, defaultVaultId, `https://localhost:${upstream.port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => resultOf(webhooks)).toBe("ok");
    await webhooks.close();
    expect(upstream.connections).toBe(3);
    const ids = upstream.received.map((text) => /^webhook-id: (.*)$/m.exec(text)?.[1]);
    expect(new Set(ids).size).toBe(1);
  });

  it("are given up after the last try, without following a redirect to somewhere else", async () => {
    const inside = await receive();
    const redirect = `HTTP/1.1 307 X\r\nLocation: https://localhost:${inside.port}/\r\nContent-Length: 0\r\n\r\n`;
    const upstream = await receive([redirect, redirect, redirect, redirect]);
    const { webhooks } = await start({ retryDelaysMs: [1, 1] });
    await webhooks.set(operator, defaultVaultId, `https://localhost:${upstream.port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => upstream.connections).toBe(3);
    await expect.poll(() => resultOf(webhooks)).toBe("it answered with status 307");
    await webhooks.close();
    expect(inside.connections).toBe(0);
  });

  it.each([
    { answer: "SSH-2.0-OpenSSH_9.9\r\n", says: /closed the connection|not HTTP/ },
    { answer: `${"x".repeat(5_000)}`, says: /not HTTP/ },
    { answer: "", says: /closed the connection without an answer/ },
  ])("fail calmly when the receiver answers nonsense: $says", async ({ answer, says }) => {
    const upstream = await receive([answer]);
    const { webhooks } = await start({ retryDelaysMs: [] });
    await webhooks.set(operator, defaultVaultId, `https://localhost:${upstream.port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => resultOf(webhooks)).toMatch(says);
    await webhooks.close();
  });

  it("reach no address inside, whether it is named, resolved to, or a metadata service", async () => {
    const upstream = await receive();
    const answers: Record<string, string> = {
      "rebind.example.com": "127.0.0.1",
      "meta.example.com": "169.254.169.254",
    };
    const resolve = async (host: string) => [answers[host] ?? "127.0.0.1"];
    const { webhooks } = await start({ allowsPrivate: false, retryDelaysMs: [], resolve });
    for (const host of [
      "127.0.0.1",
      "[::1]",
      "10.0.0.1",
      "169.254.169.254",
      "rebind.example.com",
      "meta.example.com",
      "0x7f.1",
      "2130706433",
    ]) {
      await webhooks.set(operator, defaultVaultId, `https://${host}:${upstream.port}/latest/meta-data`);
      await webhooks.deliver(defaultVaultId, "proposal.created", {});
      await expect.poll(() => resultOf(webhooks)).toMatch(/network policy does not allow/);
    }
    expect(upstream.connections).toBe(0);
  });

  it("reach neither the broker itself nor a metadata service where private addresses are allowed", async () => {
    const upstream = await receive();
    const { webhooks, policy } = await start({ retryDelaysMs: [] });
    policy.protect({ host: "127.0.0.1", port: upstream.port });
    for (const authority of [`127.0.0.1:${upstream.port}`, "169.254.169.254"]) {
      await webhooks.set(operator, defaultVaultId, `https://${authority}/`);
      await webhooks.deliver(defaultVaultId, "proposal.created", {});
      await expect.poll(() => resultOf(webhooks)).toMatch(/network policy does not allow/);
    }
    expect(upstream.connections).toBe(0);
  });

  it("send nothing to a receiver whose certificate does not hold", async () => {
    const stranger = await TestAuthority.create("Another CA");
    const upstream = await startRawUpstream({ authority: stranger, names: ["localhost"], script: () => undefined });
    running.push(upstream);
    const { webhooks } = await start({ retryDelaysMs: [] });
    await webhooks.set(operator, defaultVaultId, `https://localhost:${upstream.port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => resultOf(webhooks)).toMatch(/certificate of localhost/);
    await webhooks.close();
    expect(upstream.received.join("")).toBe("");
  });

  it.each([
    "http://hooks.example.com/x",
    "ftp://hooks.example.com/x",
    "https://user:secret@hooks.example.com/x",
    "https://hooks.example.com/x#part",
    "https://hooks.example.com/\r\nX-Evil: 1",
    "hooks.example.com",
    "",
    `https://hooks.example.com/${"x".repeat(2_000)}`,
  ])("refuse the address %j", async (address) => {
    const { webhooks } = await start();
    expect(await codeOf(webhooks.set(operator, defaultVaultId, address))).toBe("invalid_webhook");
    expect(await codeOf(webhooks.get(defaultVaultId))).toBe("webhook_not_found");
  });

  it("keep address and secret sealed, and show the origin alone", async () => {
    const { webhooks, database } = await start();
    const secret = await webhooks.set(operator, defaultVaultId, "https://hooks.example.com/services/T000/SECRETPATH");
    const row = await database.db.selectFrom("proposal_webhooks").selectAll().executeTakeFirstOrThrow();
    const written = Buffer.from(row.target_sealed).toString("latin1") + JSON.stringify({ ...row, target_sealed: null });
    expect(written).not.toContain("SECRETPATH");
    expect(written).not.toContain(secret.reveal());
    const shown = await webhooks.get(defaultVaultId);
    expect(JSON.stringify(shown)).not.toContain("SECRETPATH");
    expect(shown.origin).toBe("https://hooks.example.com");
  });

  it("hear nothing more once they are replaced or removed, not even another try", async () => {
    const upstream = await receive([500, 500, 500, 500]);
    const { webhooks } = await start({ retryDelaysMs: [50, 50, 50] });
    await webhooks.set(operator, defaultVaultId, `https://localhost:${upstream.port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => upstream.connections).toBe(1);
    await webhooks.remove(operator, defaultVaultId);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await new Promise((resolve) => setTimeout(resolve, 200));
    await webhooks.close();
    expect(upstream.connections).toBe(1);
    expect(await codeOf(webhooks.remove(operator, defaultVaultId))).toBe("webhook_not_found");
  });

  it("do not keep the server from stopping while they wait for another try", async () => {
    const upstream = await receive([500]);
    const { webhooks } = await start({ retryDelaysMs: [3_600_000] });
    await webhooks.set(operator, defaultVaultId, `https://localhost:${upstream.port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => resultOf(webhooks)).toMatch(/status 500/);
    await webhooks.close();
  });

  it("do not keep the server from stopping while a receiver keeps silent", async () => {
    const silent = await startRawUpstream({ authority, names: ["localhost"], script: () => undefined });
    running.push(silent);
    const { webhooks } = await start();
    await webhooks.set(operator, defaultVaultId, `https://localhost:${silent.port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => silent.received.join("")).toContain("proposal.created");
    await webhooks.close();
    expect(await resultOf(webhooks)).toMatch(/given up/);
  });

  it("may use http where the server is in development mode", async () => {
    const received: string[] = [];
    const server = createServer((socket) => {
      socket.on("data", (chunk) => {
        received.push(chunk.toString("latin1"));
        socket.end("HTTP/1.1 204 X\r\n\r\n");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const { webhooks } = await start({ allowsPlainHttp: true });
    await webhooks.set(operator, defaultVaultId, `http://127.0.0.1:${port}/`);
    await webhooks.deliver(defaultVaultId, "proposal.created", {});
    await expect.poll(() => resultOf(webhooks)).toBe("ok");
    await webhooks.close();
    await new Promise((resolve) => server.close(resolve));
    expect(received.join("")).toContain("proposal.created");
  });
});
