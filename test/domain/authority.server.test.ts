import { X509Certificate } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import { describe, expect, it } from "vitest";
import { Keyring } from "../../src/crypto/keyring.ts";
import { Authority } from "../../src/domain/authority.ts";
import { silentLogger } from "../../src/log.ts";
import { type SecureContext, terminateTls } from "../../src/runtime/tls.ts";
import { type Database, openDatabase } from "../../src/storage/database.ts";

const keyring = await Keyring.open([{ number: 1, raw: new Uint8Array(32).fill(7) }]);

async function openScratch(): Promise<Database> {
  const directory = await mkdtemp(join(tmpdir(), "authority-"));
  return await openDatabase({ path: join(directory, "vault.db") }, silentLogger);
}

/** What a client sees that trusts `ca` and asks for `servername`. */
async function shake(context: SecureContext, servername: string, ca: string): Promise<PeerCertificate> {
  const server = createServer((socket) => {
    terminateTls(socket, context, Buffer.alloc(0)).on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const raw = connect(port, "127.0.0.1");
  try {
    return await new Promise<PeerCertificate>((resolve, reject) => {
      const client = connectTls({ socket: raw, servername, ca: [ca] });
      client.once("secureConnect", () => resolve(client.getPeerCertificate()));
      client.once("error", reject);
    });
  } finally {
    raw.destroy();
    server.close();
  }
}

describe("the certificate authority", () => {
  it("is the same for every instance that opens it, also at once", async () => {
    const database = await openScratch();
    let nowMs = Date.now();
    const clock = { now: () => nowMs };
    const [one, other] = await Promise.all([
      Authority.open(database, keyring, clock),
      Authority.open(database, keyring, clock),
    ]);
    nowMs += 1000;
    const later = await Authority.open(database, keyring, clock);
    expect(other.rootPem).toBe(one.rootPem);
    expect(later.rootPem).toBe(one.rootPem);
    await database.close();
  });

  it("has a root that may sign leaves only, for ten years", async () => {
    const database = await openScratch();
    const authority = await Authority.open(database, keyring, { now: () => Date.now() });
    const root = new X509Certificate(authority.rootPem);
    expect(root.subject).toBe("CN=Agent Vault Root CA");
    expect(root.ca).toBe(true);
    expect(Date.parse(root.validTo) - Date.now()).toBeGreaterThan(3640 * 24 * 3600_000);
    await database.close();
  });

  it("keeps its key sealed, and does not open under another key", async () => {
    const database = await openScratch();
    await Authority.open(database, keyring, { now: () => Date.now() });
    const row = await database.db.selectFrom("authorities").selectAll().executeTakeFirstOrThrow();
    expect(Buffer.from(row.private_key_sealed).includes(Buffer.from("2a8648ce3d", "hex"))).toBe(false); // id-ecPublicKey
    const stranger = await Keyring.open([{ number: 1, raw: new Uint8Array(32).fill(8) }]);
    await expect(Authority.open(database, stranger, { now: () => Date.now() })).rejects.toMatchObject({
      code: "seal_broken",
    });
    await database.close();
  });

  it("makes a leaf once per name, for all who ask at once, and again when it is about to expire", async () => {
    const database = await openScratch();
    let nowMs = Date.now();
    const authority = await Authority.open(database, keyring, { now: () => nowMs });
    const [one, other] = await Promise.all([authority.leafFor("api.test"), authority.leafFor("api.test")]);
    expect(other).toBe(one);
    expect(authority.leafFor("api.test")).toBe(one);
    nowMs += 24 * 3600_000 - 60_000;
    expect(await authority.leafFor("api.test")).not.toBe(one);
    await database.close();
  });

  it.each(["api.test", "with_underscore.test", `${"a".repeat(60)}.${"b".repeat(60)}.test`, "host.docker.internal"])(
    "speaks for %s, and for the server's own host",
    async (name) => {
      const database = await openScratch();
      const authority = await Authority.open(database, keyring, { now: () => Date.now() }, { ownHost: "vault.test" });
      const context = await authority.leafFor(name);
      expect((await shake(context, name, authority.rootPem)).subjectaltname).toBe(`DNS:${name}, DNS:vault.test`);
      await expect(shake(context, "other.test", authority.rootPem)).rejects.toThrow();
      await database.close();
    },
  );
});
