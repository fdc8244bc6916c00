import { sql } from "kysely";
import { expect, it } from "vitest";
import { uuidv7 } from "../../src/crypto/token.ts";
import type { Database } from "../../src/storage/database.ts";
import { describeEachDatabase } from "../support/database.ts";

const now = "2026-01-31T12:00:00.250Z";
const defaultVault = "00000000-0000-0000-0000-000000000000";

async function addVault(database: Database, name: string): Promise<string> {
  const id = uuidv7();
  await database.db.insertInto("vaults").values({ id, name, version: 1, created_at: now, updated_at: now }).execute();
  return id;
}

async function addUser(database: Database, email: string): Promise<string> {
  const id = uuidv7();
  const bytes = new Uint8Array([1, 2, 255]);
  const kdf = { password_hash: bytes, password_salt: bytes, kdf_time: 3, kdf_memory: 65_536, kdf_threads: 4 };
  await database.db
    .insertInto("users")
    .values({ id, email, ...kdf, role: "member", is_active: 1, created_at: now, updated_at: now })
    .execute();
  return id;
}

const logColumns = [
  "vault_id",
  "context_id",
  "request_id",
  "path",
  "status",
  "bytes_in",
  "bytes_out",
  "latency_ms",
  "upstream_ms",
  "flags",
  "created_at",
] as const;

function logLine(vaultId: string, path: string): readonly (string | number | null)[] {
  return [vaultId, 281_474_976_710_654, "r1", path, 200, 5_000_000_000, 7, 12, null, null, now];
}

describeEachDatabase("a database", (open, engine) => {
  it("starts with one instance and the default vault", async () => {
    const { db } = await open();
    expect(await db.selectFrom("vaults").select(["id", "name", "version"]).execute()).toEqual([
      { id: defaultVault, name: "default", version: 1 },
    ]);
    expect(await db.selectFrom("instance").select(["product", "change_counter"]).execute()).toEqual([
      { product: "agent-vault", change_counter: 0 },
    ]);
  });

  it("gives back texts, times, bytes and large numbers as they were stored", async () => {
    const database = await open();
    await addUser(database, "zoë@example.com");
    const user = await database.db.selectFrom("users").selectAll().executeTakeFirstOrThrow();
    expect(user).toMatchObject({ email: "zoë@example.com", is_active: 1, created_at: now });
    expect(user.password_hash).toEqual(new Uint8Array([1, 2, 255]));
    await database.insertRows("request_entries", logColumns, [logLine(defaultVault, "/")]);
    const line = await database.db.selectFrom("request_entries").selectAll().executeTakeFirstOrThrow();
    expect(line).toMatchObject({ id: 1, bytes_in: 5_000_000_000, upstream_ms: null, created_at: now });
  });

  it("counts in numbers", async () => {
    const { db } = await open();
    const { count } = await db.selectFrom("vaults").select(sql<number>`count(*)`.as("count")).executeTakeFirstOrThrow();
    expect(count).toBe(1);
    const { sum } = await db.selectFrom("vaults").select(sql<number>`sum(version)`.as("sum")).executeTakeFirstOrThrow();
    expect(sum).toBe(1);
  });

  it("sorts texts by their bytes", async () => {
    const database = await open();
    for (const name of ["b", "a-b", "B", "ab", "a_b"]) await addVault(database, name);
    const rows = await database.db.selectFrom("vaults").select("name").orderBy("name").execute();
    expect(rows.map(({ name }) => name)).toEqual(["B", "a-b", "a_b", "ab", "b", "default"]);
  });

  it("keeps its contents when it is opened again", async () => {
    const first = await open();
    await addVault(first, "billing");
    const { instance_id: id } = await first.db.selectFrom("instance").select("instance_id").executeTakeFirstOrThrow();
    await first.close();
    const { db } = await open({ shared: true });
    expect(await db.selectFrom("vaults").select("name").orderBy("name").execute()).toEqual([
      { name: "billing" },
      { name: "default" },
    ]);
    expect(await db.selectFrom("instance").select("instance_id").executeTakeFirstOrThrow()).toEqual({
      instance_id: id,
    });
  });

  it("rolls everything back when a transaction fails", async () => {
    const database = await open();
    const failing = database.transaction(async (tx) => {
      await tx.updateTable("vaults").set({ name: "lost" }).execute();
      throw new Error("on purpose");
    });
    await expect(failing).rejects.toThrow("on purpose");
    expect(await database.db.selectFrom("vaults").select("name").execute()).toEqual([{ name: "default" }]);
    await addVault(database, "after"); // the connection is usable again
  });

  it("shows nothing of a transaction to others until it commits", async () => {
    const database = await open();
    const other = await open({ shared: true });
    const version = async ({ db }: Database) =>
      (await db.selectFrom("vaults").select("version").executeTakeFirst())?.version;
    await database.transaction(async (tx) => {
      await tx.updateTable("vaults").set({ version: 2 }).execute();
      expect(await version(database)).toBe(1);
      expect(await version(other)).toBe(1);
      expect((await tx.selectFrom("vaults").select("version").executeTakeFirst())?.version).toBe(2);
    });
    expect(await version(database)).toBe(2);
    expect(await version(other)).toBe(2);
  });

  it("loses no update of transactions that read and write at the same time", async () => {
    const database = await open();
    const raise = () =>
      database.transaction(async (tx) => {
        await database.lockVault(tx, defaultVault);
        const { version } = await tx.selectFrom("vaults").select("version").executeTakeFirstOrThrow();
        await new Promise((resolve) => setTimeout(resolve, 1));
        await tx
          .updateTable("vaults")
          .set({ version: version + 1 })
          .execute();
      });
    await Promise.all(Array.from({ length: 20 }, raise));
    expect(await database.db.selectFrom("vaults").select("version").execute()).toEqual([{ version: 21 }]);
  });

  it("recognises a value that is taken, and nothing else", async () => {
    const database = await open();
    await addUser(database, "ann@example.com");
    const taken = await addUser(database, "ann@example.com").catch((error: unknown) => error);
    expect(database.isUniqueViolation(taken)).toBe(true);
    const upperCase = await addUser(database, "Ann@example.com").catch((error: unknown) => error);
    expect(upperCase).toBeInstanceOf(Error);
    expect(database.isUniqueViolation(upperCase)).toBe(false);
    expect(database.isUniqueViolation(new Error("else"))).toBe(false);
  });

  it("ties a grant to exactly one of a person and an agent", async () => {
    const database = await open();
    const user = await addUser(database, "ann@example.com");
    const grant = { vault_id: defaultVault, role: "member", created_at: now };
    const add = (id: string, userId: string | null) =>
      database.db
        .insertInto("vault_grants")
        .values({ ...grant, id, user_id: userId, agent_id: null })
        .execute();
    await add("g1", user);
    await expect(add("g2", null)).rejects.toThrow(/constraint/i);
    await expect(add("g3", user)).rejects.toSatisfy((error) => database.isUniqueViolation(error));
    await expect(add("g4", "nobody")).rejects.toThrow(/foreign key/i);
  });

  it("deletes everything of a vault with it, journal included, and nothing of another", async () => {
    const database = await open();
    const vault = await addVault(database, "billing");
    const times = { created_at: now, updated_at: now };
    const credential = { key: "KEY", type: "static", value_sealed: null, version: 1, description: null };
    for (const [id, vaultId] of [
      ["c1", vault],
      ["c2", defaultVault],
    ] as const) {
      await database.db
        .insertInto("credentials")
        .values({ ...credential, id, vault_id: vaultId, expires_at: null, last_used_at: null, ...times })
        .execute();
      await database.db
        .insertInto("services")
        .values({ id, vault_id: vaultId, name: "example", position: 0, definition: "{}", ...times })
        .execute();
    }
    await database.insertRows("request_entries", logColumns, [logLine(vault, "/1"), logLine(defaultVault, "/2")]);
    await database.db.deleteFrom("vaults").where("id", "=", vault).execute();
    for (const table of ["credentials", "services", "request_entries"] as const) {
      const rows = await database.db.selectFrom(table).select("vault_id").execute();
      expect(rows, table).toEqual([{ vault_id: defaultVault }]);
    }
  });

  it("appends many rows in order, all or none", async () => {
    const database = await open();
    const lines = Array.from({ length: 1_000 }, (_, at) => logLine(defaultVault, `/${at}`));
    await database.insertRows("request_entries", logColumns, lines);
    const paths = await database.db.selectFrom("request_entries").select("path").orderBy("id").execute();
    expect(paths.map(({ path }) => path)).toEqual(lines.map((_, at) => `/${at}`));

    const broken = [logLine(defaultVault, "/good"), logLine(defaultVault, "/bad").with(2, null)];
    await expect(database.insertRows("request_entries", logColumns, broken)).rejects.toThrow();
    await database.insertRows("request_entries", logColumns, []);
    expect(await database.db.selectFrom("request_entries").select("id").execute()).toHaveLength(1_000);
  });

  it.each([
    "2026-01-31T12:00:00.000Z",
    "2026-01-31T12:00:00.500Z",
    "2026-01-31T12:00:00.050Z",
    "1999-12-31T23:59:59.999Z",
    "0900-02-28T00:00:00.001Z",
  ])("gives a time back as it was written: %s", async (time) => {
    const database = await open();
    await database.db.updateTable("vaults").set({ created_at: time }).where("id", "=", defaultVault).execute();
    const query = database.db.selectFrom("vaults").select("created_at").where("id", "=", defaultVault);
    expect((await query.executeTakeFirstOrThrow()).created_at).toBe(time);
  });

  it("appends bytes too", async () => {
    const database = await open();
    const row = [7, new Uint8Array([0, 1, 254]), "active", now];
    await database.insertRows("data_keys", ["number", "wrapped", "state", "created_at"], [row]);
    const { wrapped } = await database.db.selectFrom("data_keys").select("wrapped").executeTakeFirstOrThrow();
    expect(wrapped).toEqual(new Uint8Array([0, 1, 254]));
  });

  it("answers a ping until it is closed, and may be closed twice", async () => {
    const database = await open();
    await database.ping();
    await database.close();
    await database.close();
    await expect(database.ping()).rejects.toThrow();
  });

  it("can be opened by several at once", async () => {
    const all = await Promise.all([open(), ...Array.from({ length: 4 }, () => open({ shared: true }))]);
    expect(all.map((database) => database.engine)).toEqual(Array(5).fill(engine));
  });
});
