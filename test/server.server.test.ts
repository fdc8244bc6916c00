import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseServerConfig } from "../src/config.ts";
import { Keyring } from "../src/crypto/keyring.ts";
import { type LogFields, type Logger, silentLogger } from "../src/log.ts";
import { startServer } from "../src/server.ts";
import { openDatabase } from "../src/storage/database.ts";

let home: string;
let lines: { readonly event: string; readonly fields: LogFields }[];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "agent-vault-server-"));
  lines = [];
});

afterEach(() => rmSync(home, { recursive: true, force: true }));

const note = (event: string, fields: LogFields = {}) => void lines.push({ event, fields });
const log: Logger = { debug: note, info: note, warn: note, error: note, enabled: () => false };

/** An embedded database in `home`; the API where the system likes, the proxy at `proxyPort`. */
function start(proxyPort: number) {
  const config = parseServerConfig({}, { HOME: home });
  return startServer({
    config: { ...config, port: 0, proxyPort },
    masterPassword: { kind: "absent" },
    log,
    output: () => undefined,
  });
}

async function occupy(): Promise<{ readonly port: number; readonly blocker: Server }> {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
  const address = blocker.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0, blocker };
}

describe("a server", () => {
  it("goes on without its proxy when the port is taken, and says which port and what to do", async () => {
    const { port, blocker } = await occupy();
    const server = await start(port);
    try {
      expect(server.proxyPort).toBeUndefined();
      const fields = lines.find(({ event }) => event === "the proxy is off")?.fields;
      expect(String(fields?.reason)).toMatch(new RegExp(`^(?!Cannot listen).*${port}.*in use`));
      expect((await fetch(`http://127.0.0.1:${server.apiPort}/health`)).status).toBe(200);
    } finally {
      await server.close();
      blocker.close();
    }
  });

  it("ends proposals whose week is over, and forgets the values that they held", async () => {
    const config = parseServerConfig({}, { HOME: home });
    const path = join(home, ".agent-vault", "agent-vault.db");
    const before = await openDatabase({ path }, silentLogger);
    const { db } = before;
    const old = new Date(Date.now() - 8 * 86_400_000).toISOString();
    await db
      .insertInto("proposals")
      .values({
        ...{ id: "p1", vault_id: "00000000-0000-0000-0000-000000000000", number: 1, status: "pending" },
        ...{ services: "[]", credentials: "[]", message: "", user_message: "", review_note: "" },
        ...{ approval_token_digest: "d", approval_token_expires_at: old, created_at: old },
      })
      .execute();
    await db
      .insertInto("proposal_credentials")
      .values({ proposal_id: "p1", key: "K", value_sealed: new Uint8Array(1) })
      .execute();
    await before.close();
    const server = await startServer({
      config: { ...config, port: 0, proxyPort: 0 },
      masterPassword: { kind: "absent" },
      log,
      output: () => undefined,
    });
    await server.close();
    const after = await openDatabase({ path }, silentLogger);
    expect(await after.db.selectFrom("proposals").select("status").execute()).toEqual([{ status: "expired" }]);
    expect(await after.db.selectFrom("proposal_credentials").selectAll().execute()).toEqual([]);
    await after.close();
  });

  it("wipes its keys last: after both doors are shut and all is written, before the database goes", async () => {
    const { port: proxyPort, blocker } = await occupy();
    await new Promise((resolve) => blocker.close(resolve));
    const order: string[] = [];
    const refused = (port: number) =>
      new Promise<boolean>((resolve) => {
        const probe = connect(port, "127.0.0.1", () => resolve(false));
        probe.once("error", () => resolve(true));
      });
    const server = await start(proxyPort);
    const { apiPort, domain } = server;
    const closeDomain = domain.close.bind(domain);
    domain.close = async () => {
      order.push(`proxy shut: ${await refused(proxyPort)}`, `api shut: ${await refused(apiPort)}`);
      await closeDomain();
      order.push("domain closed");
    };
    const wipe = Keyring.prototype.destroy;
    const wiping = vi.spyOn(Keyring.prototype, "destroy").mockImplementation(function (this: Keyring) {
      order.push("keys wiped");
      wipe.call(this);
    });
    try {
      await server.close();
      expect(order).toEqual(["proxy shut: true", "api shut: true", "domain closed", "keys wiped"]);
    } finally {
      wiping.mockRestore();
    }
  });

  it("takes every other step of its stop when one fails", async () => {
    const { port, blocker } = await occupy();
    await new Promise((resolve) => blocker.close(resolve));
    const server = await start(port);
    const wal = join(home, ".agent-vault", "agent-vault.db-wal");
    expect(existsSync(wal)).toBe(true);
    Object.defineProperty(server.domain, "close", { value: () => Promise.reject(new Error("no such luck")) });

    await server.close();

    expect(lines.filter(({ fields }) => fields.error === "no such luck")).toHaveLength(1);
    // The database is closed, which folds its write-ahead log into the file, and both ports are free.
    expect(existsSync(wal)).toBe(false);
    for (const freed of [server.apiPort, port]) {
      await expect(fetch(`http://127.0.0.1:${freed}/health`)).rejects.toThrow();
    }
  });
});
