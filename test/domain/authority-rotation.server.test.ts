import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { expect, it } from "vitest";
import { Audit } from "../../src/domain/audit/audit.ts";
import { Authority, type LeafContext } from "../../src/domain/authority.ts";
import { AuthorityRotation } from "../../src/domain/authority-rotation.ts";
import { silentLogger } from "../../src/log.ts";
import { terminateTls } from "../../src/runtime/tls.ts";
import { Changes } from "../../src/storage/changes.ts";
import type { Database } from "../../src/storage/database.ts";
import { ManualClock } from "../support/api-server.ts";
import { describeEachDatabase } from "../support/database.ts";
import { buildVaultWorld, makeKeyring } from "../support/vault-world.ts";

const hour = 3600;

/** One process: an authority that follows what others do. */
async function openInstance(database: Database, keyring: Awaited<ReturnType<typeof makeKeyring>>, clock: ManualClock) {
  const changes = new Changes(database, silentLogger);
  changes.start();
  const audit = new Audit({ changes, clock });
  const rotation = new AuthorityRotation({ database, changes, keyring, clock, audit });
  const authority = await Authority.open(database, keyring, clock);
  const unfollow = authority.follow(changes, silentLogger);
  return {
    rotation,
    authority,
    async [Symbol.asyncDispose]() {
      unfollow();
      await changes.stop();
    },
  };
}

/** Does a client that trusts `ca` accept the leaf? */
async function accepts(context: LeafContext, ca: string): Promise<boolean> {
  const server = createServer((socket) => {
    terminateTls(socket, context, Buffer.alloc(0)).on("error", () => socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const raw: Socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const client: TLSSocket = connectTls({ socket: raw, servername: "api.test", ca: certificates(ca) });
  try {
    await once(client, "secureConnect");
    return true;
  } catch {
    return false;
  } finally {
    raw.destroy();
    server.close();
  }
}

function certificates(pem: string): string[] {
  return pem.split(/(?<=-----END CERTIFICATE-----\n)/).filter((text) => text.trim() !== "");
}

describeEachDatabase("a rotation of the root certificate", (open, engine) => {
  async function begin() {
    const database = await open();
    const keyring = await makeKeyring();
    const clock = new ManualClock();
    const world = await buildVaultWorld(database, { keyring, clock });
    return { database, keyring, clock, owner: world.owner };
  }

  /** Two transactions of SQLite in one thread would wait for each other in vain: there they share their connection. */
  const another = async (database: Database) => (engine === "sqlite" ? database : await open({ shared: true }));

  it("hands out both roots, then signs with the new one, then forgets the old one", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    const { rotation, authority } = one;
    const old = authority.rootPem;
    const oldLeaf = await authority.leafFor("api.test");

    await rotation.start(owner, hour);
    await expect.poll(() => certificates(authority.bundlePem)).toHaveLength(2);
    const fresh = certificates(authority.bundlePem)[1] ?? "";
    expect(authority.rootPem).toBe(old);
    expect(await authority.leafFor("api.test")).toBe(oldLeaf);
    expect(await accepts(await authority.leafFor("api.test"), fresh)).toBe(false);

    await rotation.activate(owner);
    await expect.poll(() => authority.rootPem).toBe(fresh);
    expect(authority.bundlePem).toBe(fresh + old);
    const leaf = await authority.leafFor("api.test");
    expect(await accepts(leaf, fresh)).toBe(true);
    expect(await accepts(leaf, old)).toBe(false);
    expect(await accepts(leaf, authority.bundlePem)).toBe(true);

    await rotation.finish(owner);
    await expect.poll(() => authority.bundlePem).toBe(fresh);
    const rows = await database.db.selectFrom("authorities").selectAll().execute();
    expect(rows.map(({ state }) => state)).toEqual(["active"]);
    const entries = await database.db.selectFrom("audit_log").select(["action", "actor_type"]).orderBy("id").execute();
    expect(entries.filter(({ action }) => action.startsWith("authority.")).map(({ action }) => action)).toEqual([
      "authority.create",
      "authority.rotate",
      "authority.activate",
      "authority.finish",
    ]);
  });

  it("reaches the other instances within seconds", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    await using other = await openInstance(await open({ shared: true }), keyring, clock);
    const old = one.authority.rootPem;
    expect(other.authority.rootPem).toBe(old);
    await one.rotation.start(owner, 0);
    await expect.poll(() => certificates(other.authority.bundlePem), { timeout: 5_000 }).toHaveLength(2);
    await one.rotation.activate(owner);
    await expect.poll(() => one.authority.rootPem).not.toBe(old);
    await expect.poll(() => other.authority.rootPem, { timeout: 5_000 }).toBe(one.authority.rootPem);
    expect(await accepts(await other.authority.leafFor("api.test"), one.authority.rootPem)).toBe(true);
  });

  it("goes on by itself, once for all instances", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    await using other = await openInstance(await another(database), keyring, clock);
    const old = one.authority.rootPem;
    await one.rotation.start(owner, hour);
    await one.rotation.advance();
    expect((await one.rotation.list()).map(({ state }) => state)).toEqual(["active", "next"]);
    clock.advance(hour * 1000);
    await Promise.all([one.rotation.advance(), other.rotation.advance(), one.rotation.advance()]);
    expect((await one.rotation.list()).map(({ state }) => state)).toEqual(["active", "retired"]);
    await expect.poll(() => one.authority.rootPem).not.toBe(old);
    clock.advance(hour * 1000);
    await Promise.all([one.rotation.advance(), other.rotation.advance()]);
    expect((await one.rotation.list()).map(({ state }) => state)).toEqual(["active"]);
    const entries = await database.db.selectFrom("audit_log").select(["action", "actor_type"]).orderBy("id").execute();
    const own = entries.filter(({ action }) => ["authority.activate", "authority.finish"].includes(action));
    expect(own).toEqual([
      { action: "authority.activate", actor_type: "server" },
      { action: "authority.finish", actor_type: "server" },
    ]);
  });

  it("stands still when it was told to", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    await one.rotation.start(owner, 0);
    clock.advance(1000 * hour * 1000);
    await one.rotation.advance();
    expect((await one.rotation.list()).map(({ state }) => state)).toEqual(["active", "next"]);
    await one.rotation.activate(owner);
    clock.advance(1000 * hour * 1000);
    await one.rotation.advance();
    expect((await one.rotation.list()).map(({ state }) => state)).toEqual(["active", "retired"]);
  });

  it("is begun once, however many begin it at once", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    await using other = await openInstance(await another(database), keyring, clock);
    const outcomes = await Promise.allSettled(
      [one, other, one, other].map(({ rotation }) => rotation.start(owner, hour)),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "rotation_under_way" });
    }
    expect(await one.rotation.list()).toHaveLength(2);
  });

  it("never leaves the proxy without a root, however many activate at once", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    await using other = await openInstance(await another(database), keyring, clock);
    await one.rotation.start(owner, 0);
    const outcomes = await Promise.allSettled([one, other, one, other].map(({ rotation }) => rotation.activate(owner)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await one.rotation.list()).map(({ state }) => state)).toEqual(["active", "retired"]);
  });

  it("refuses the steps that are not next", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    const { rotation } = one;
    await expect(rotation.activate(owner)).rejects.toMatchObject({ code: "no_rotation" });
    await expect(rotation.finish(owner)).rejects.toMatchObject({ code: "no_rotation" });
    await expect(rotation.start(owner, -1)).rejects.toMatchObject({ code: "bad_overlap" });
    await rotation.start(owner, hour);
    await expect(rotation.finish(owner)).rejects.toMatchObject({ code: "no_rotation" });
    await rotation.activate(owner);
    await expect(rotation.start(owner, hour)).rejects.toMatchObject({ code: "rotation_under_way" });
    await expect(rotation.cancel(owner)).rejects.toMatchObject({ code: "no_rotation" });
  });

  it("can be taken back before the new root has signed", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    const { rotation, authority } = one;
    const old = authority.rootPem;
    await rotation.start(owner, hour);
    await expect.poll(() => certificates(authority.bundlePem)).toHaveLength(2);
    await rotation.cancel(owner);
    await expect.poll(() => authority.bundlePem).toBe(old);
  });

  it("keeps the new key sealed", async () => {
    const { database, keyring, clock, owner } = await begin();
    await using one = await openInstance(database, keyring, clock);
    await one.rotation.start(owner, hour);
    const rows = await database.db.selectFrom("authorities").selectAll().execute();
    expect(rows).toHaveLength(2);
    for (const row of rows) {
      expect(Buffer.from(row.private_key_sealed).includes(Buffer.from("2a8648ce3d", "hex"))).toBe(false); // id-ecPublicKey
      expect(new X509Certificate(row.certificate_pem).ca).toBe(true);
    }
  });
});
