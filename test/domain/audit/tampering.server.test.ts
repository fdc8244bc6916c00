/** What somebody who can write to the database, or to an export, cannot do without being found out, and where. */
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import { Keyring } from "../../../src/crypto/keyring.ts";
import { createSigningKey } from "../../../src/crypto/signing.ts";
import { appendEntries, signed } from "../../../src/domain/audit/append.ts";
import { operator } from "../../../src/domain/audit/author.ts";
import { Checkpoints } from "../../../src/domain/audit/checkpoints.ts";
import { type AuditRow, hashOf } from "../../../src/domain/audit/entry.ts";
import { exportLines } from "../../../src/domain/audit/export.ts";
import { pruneAudit } from "../../../src/domain/audit/prune.ts";
import { readCheckpoints, verifyDatabase, verifyExport } from "../../../src/domain/audit/verify.ts";
import { createLogger } from "../../../src/log.ts";
import type { Database } from "../../../src/storage/database.ts";
import { describeEachDatabase } from "../../support/database.ts";

const log = createLogger({ level: "silent", format: "text" });

async function append(database: Database, count: number, nowMs = Date.now()): Promise<void> {
  for (let index = 0; index < count; index++) {
    const entry = { action: "test.write", target: { type: "thing", id: String(index) }, after: { index } } as const;
    await database.transaction((tx) => appendEntries(tx, nowMs, [signed(operator, entry)]));
  }
}

async function openCheckpoints(database: Database, nowMs = Date.now()): Promise<Checkpoints> {
  const keyring = await Keyring.open([{ number: 1, raw: new Uint8Array(32).fill(7) }]);
  return new Checkpoints({ database, keyring, clock: { now: () => nowMs }, log });
}

/** Entry 1 is the key's; a checkpoint at 5 and at 9; entries 10 to 12 are not signed. */
async function filled(database: Database): Promise<Checkpoints> {
  const checkpoints = await openCheckpoints(database);
  await checkpoints.publicKey();
  await append(database, 4);
  await checkpoints.sign();
  await append(database, 4);
  await checkpoints.sign();
  await append(database, 3);
  return checkpoints;
}

const rowOf = ({ db }: Database, id: number) =>
  db.selectFrom("audit_log").selectAll().where("id", "=", id).executeTakeFirstOrThrow();

const put = ({ db }: Database, id: number, columns: Partial<AuditRow>) =>
  db.updateTable("audit_log").set(columns).where("id", "=", id).execute();

const cut = ({ db }: Database, from: number, to = from) =>
  db.deleteFrom("audit_log").where("id", ">=", from).where("id", "<=", to).execute();

/** Every hash from `id` on made right again, the head included: what somebody would do who knows the format. */
async function rehash(database: Database, id: number): Promise<void> {
  let previous = id === 1 ? "0".repeat(64) : (await rowOf(database, id - 1)).hash;
  const rows = await database.db.selectFrom("audit_log").selectAll().where("id", ">=", id).orderBy("id").execute();
  for (const row of rows) {
    const hash = hashOf({ ...row, previous_hash: previous });
    await put(database, row.id, { previous_hash: previous, hash });
    previous = hash;
  }
  const last = rows.at(-1)?.id ?? id - 1;
  await database.db.updateTable("audit_head").set({ last_id: last, last_hash: previous }).execute();
}

async function swap(database: Database, one: number, other: number): Promise<void> {
  const [first, second] = [await rowOf(database, one), await rowOf(database, other)];
  await cut(database, one);
  await cut(database, other);
  for (const row of [
    { ...second, id: one },
    { ...first, id: other },
  ]) {
    await database.db.insertInto("audit_log").values(row).execute();
  }
}

async function renumber({ db }: Database, from: number, by: number): Promise<void> {
  const rows = await db.selectFrom("audit_log").select("id").where("id", ">=", from).orderBy("id").execute();
  for (const { id } of by > 0 ? rows.reverse() : rows) {
    await db
      .updateTable("audit_log")
      .set({ id: id + by })
      .where("id", "=", id)
      .execute();
  }
}

interface Attack {
  readonly name: string;
  /** Entry that verification names, and what it says of it. */
  readonly entry: number;
  readonly kind: string;
  run(database: Database): Promise<unknown>;
}

const attacks: readonly Attack[] = [
  {
    name: "a field is flipped",
    entry: 4,
    kind: "altered",
    run: (database) => put(database, 4, { client_ip: "10.0.0.1" }),
  },
  {
    name: "what happened before is emptied, which is not the same as nothing",
    entry: 4,
    kind: "altered",
    run: (database) => put(database, 4, { before: "" }),
  },
  {
    name: "the time is moved",
    entry: 4,
    kind: "altered",
    run: (database) => put(database, 4, { created_at: "2020-01-01T00:00:00.000Z" }),
  },
  {
    name: "a field is flipped and the entry hashed again",
    entry: 4,
    kind: "altered",
    async run(database) {
      const row = { ...(await rowOf(database, 4)), action: "test.nothing" };
      await put(database, 4, { action: row.action, hash: hashOf(row) });
    },
  },
  { name: "the first entry is dropped", entry: 1, kind: "missing", run: (database) => cut(database, 1) },
  {
    name: "the beginning is cut off up to a checkpoint, as if it had been pruned",
    entry: 1,
    kind: "missing",
    run: (database) => cut(database, 1, 5),
  },
  { name: "an entry is dropped", entry: 6, kind: "missing", run: (database) => cut(database, 6) },
  {
    name: "an entry is dropped and those after it renumbered",
    entry: 6,
    kind: "altered",
    async run(database) {
      await cut(database, 6);
      await renumber(database, 7, -1);
    },
  },
  {
    name: "an entry is put in, in the place of one that moves up",
    entry: 7,
    kind: "altered",
    async run(database) {
      await renumber(database, 6, 1);
      const row = { ...(await rowOf(database, 7)), id: 6, action: "test.forged" };
      await database.db
        .insertInto("audit_log")
        .values({ ...row, hash: hashOf(row) })
        .execute();
    },
  },
  { name: "two entries change places", entry: 3, kind: "altered", run: (database) => swap(database, 3, 7) },
  { name: "the last entry is cut off", entry: 12, kind: "missing", run: (database) => cut(database, 12) },
  {
    name: "the end is cut off below a checkpoint, and the head moved back",
    entry: 8,
    kind: "missing",
    async run(database) {
      await cut(database, 8, 12);
      const { hash } = await rowOf(database, 7);
      await database.db.updateTable("audit_head").set({ last_id: 7, last_hash: hash }).execute();
    },
  },
  {
    name: "everything is deleted but the checkpoints",
    entry: 1,
    kind: "missing",
    async run(database) {
      await cut(database, 1, 12);
      await database.db
        .updateTable("audit_head")
        .set({ last_id: 0, last_hash: "0".repeat(64) })
        .execute();
    },
  },
  {
    name: "everything from an entry on is rewritten with right hashes",
    entry: 6,
    kind: "rewritten",
    async run(database) {
      await put(database, 7, { action: "test.nothing" });
      await rehash(database, 7);
    },
  },
  {
    name: "everything is rewritten, and the checkpoints' hashes with it",
    entry: 9,
    kind: "checkpoint",
    async run(database) {
      await put(database, 7, { action: "test.nothing" });
      await rehash(database, 7);
      const { hash } = await rowOf(database, 9);
      await database.db.updateTable("audit_checkpoints").set({ hash }).where("audit_id", "=", 9).execute();
    },
  },
  {
    name: "a signature is taken from another checkpoint",
    entry: 9,
    kind: "checkpoint",
    async run({ db }) {
      const first = await db
        .selectFrom("audit_checkpoints")
        .select("signature")
        .where("audit_id", "=", 5)
        .executeTakeFirstOrThrow();
      await db.updateTable("audit_checkpoints").set(first).where("audit_id", "=", 9).execute();
    },
  },
  {
    name: "the public key is replaced under its old name",
    entry: 0,
    kind: "format",
    async run({ db }) {
      const { publicKeyPem } = await createSigningKey();
      await db.updateTable("audit_keys").set({ public_key_pem: publicKeyPem }).execute();
    },
  },
  {
    name: "an entry is written behind the head",
    entry: 13,
    kind: "misplaced",
    async run(database) {
      const row = { ...(await rowOf(database, 12)), id: 13 };
      await database.db
        .insertInto("audit_log")
        .values({ ...row, previous_hash: row.hash, hash: hashOf({ ...row, previous_hash: row.hash }) })
        .execute();
    },
  },
  {
    name: "the database is another instance's",
    entry: 5,
    kind: "checkpoint",
    run: ({ db }) => db.updateTable("instance").set({ instance_id: "00000000-0000-4000-8000-000000000000" }).execute(),
  },
];

describeEachDatabase("the audit log in a database", (open, engine) => {
  it("holds, and says what of it is signed", async () => {
    const database = await open();
    await filled(database);
    expect(await verifyDatabase(database)).toMatchObject({
      problem: undefined,
      entries: 12,
      lastId: 12,
      checkpoints: 2,
      signedId: 9,
    });
  });

  it.each(attacks)("is found out when $name", async ({ run, entry, kind }) => {
    const database = await open();
    await filled(database);
    await run(database);
    expect((await verifyDatabase(database)).problem).toMatchObject({ entry, kind });
  });

  it("is never signed any further once something before is not what it was", async () => {
    const database = await open();
    const checkpoints = await filled(database);
    await put(database, 11, { action: "test.nothing" });
    expect(await checkpoints.sign()).toMatchObject({ entry: 11, kind: "altered" });
    await append(database, 1);
    expect(await checkpoints.sign()).toMatchObject({ entry: 11 });
    expect((await verifyDatabase(database)).checkpoints).toBe(2);
  });

  describe("when it is pruned", () => {
    const longAgo = Date.parse("2020-01-01T00:00:00.000Z");

    /** Entries 1 to 7 are old, 8 to 10 are young; checkpoints at 5 and 9. */
    async function aged(database: Database): Promise<Checkpoints> {
      const checkpoints = await openCheckpoints(database, longAgo);
      await checkpoints.publicKey();
      await append(database, 4, longAgo);
      await checkpoints.sign();
      await append(database, 2, longAgo);
      await append(database, 2);
      await checkpoints.sign();
      await append(database, 1);
      return checkpoints;
    }

    it("loses what a checkpoint of old entries covers, says so, and holds from there on", async () => {
      const database = await open();
      const checkpoints = await aged(database);
      const kept = await readCheckpoints(textOf(database));
      expect(await pruneAudit(database, "2019-01-01T00:00:00.000Z")).toBeUndefined();
      expect(await pruneAudit(database, "2021-01-01T00:00:00.000Z")).toEqual({ through: 5, entries: 5 });
      expect(await pruneAudit(database, "2021-01-01T00:00:00.000Z"), "twice is once").toBeUndefined();
      expect(await rowOf(database, 11)).toMatchObject({ action: "audit.prune", actor_type: "operator" });
      const holds = { problem: undefined, entries: 6, lastId: 11, checkpoints: 2, signedId: 9 };
      expect(await verifyDatabase(database)).toMatchObject(holds);
      expect(await verifyExport(textOf(database))).toMatchObject(holds);
      expect((await verifyDatabase(database, { keptCheckpoints: kept })).problem).toBeUndefined();
      expect(await checkpoints.sign()).toBeUndefined();
      await append(database, 1);
      await checkpoints.sign();
      expect(await verifyDatabase(database)).toMatchObject({ problem: undefined, lastId: 12, signedId: 12 });
    });

    it("still shows what was done to the rest", async () => {
      const database = await open();
      await aged(database);
      await pruneAudit(database, "2021-01-01T00:00:00.000Z");
      await cut(database, 6);
      expect((await verifyDatabase(database)).problem).toMatchObject({ entry: 6, kind: "missing" });
    });

    it("cannot begin at a checkpoint that nobody signed, nor at another than it says", async () => {
      const database = await open();
      await aged(database);
      await pruneAudit(database, "2021-01-01T00:00:00.000Z");
      const first = database.db.updateTable("audit_checkpoints").where("audit_id", "=", 5);
      await first.set({ signature: `${"A".repeat(86)}==` }).execute();
      expect((await verifyDatabase(database)).problem).toMatchObject({ entry: 5, kind: "checkpoint" });
      await cut(database, 6);
      const { hash } = await rowOf(database, 7);
      await first.set({ audit_id: 6, hash }).execute();
      expect((await verifyDatabase(database)).problem).toMatchObject({ entry: 1, kind: "missing" });
    });

    it("is left alone when it is broken: that is evidence", async () => {
      const database = await open();
      await aged(database);
      await put(database, 3, { action: "test.nothing" });
      const attempt = pruneAudit(database, "2021-01-01T00:00:00.000Z");
      await expect(attempt).rejects.toMatchObject({ code: "audit_broken" });
      expect(await rowOf(database, 1)).toBeDefined();
    });
  });

  it.each([
    {
      name: "rewritten",
      found: { entry: 9, kind: "altered" },
      async change(database: Database) {
        await put(database, 7, { action: "test.nothing" });
        await rehash(database, 7);
      },
    },
    {
      name: "cut back",
      found: { entry: 6, kind: "misplaced" },
      async change(database: Database) {
        await cut(database, 6, 12);
        const { hash } = await rowOf(database, 5);
        await database.db.updateTable("audit_head").set({ last_id: 5, last_hash: hash }).execute();
      },
    },
  ])(
    "is not signed once it was $name behind the back of a server that saw it, without a trace in the database",
    async (attack) => {
      const database = await open();
      const checkpoints = await openCheckpoints(database);
      await checkpoints.publicKey();
      await append(database, 8);
      await checkpoints.sign();
      await database.db.deleteFrom("audit_checkpoints").execute();
      await attack.change(database);
      expect((await verifyDatabase(database)).problem, "by itself it looks whole").toBeUndefined();
      expect(await checkpoints.sign()).toMatchObject(attack.found);
      await append(database, 9);
      expect(await checkpoints.sign()).toMatchObject({ kind: expect.stringMatching(/altered|misplaced/) });
      expect(await database.db.selectFrom("audit_checkpoints").selectAll().execute()).toEqual([]);
    },
  );

  it("does not hold against a key that did not sign it", async () => {
    const database = await open();
    await filled(database);
    const { publicKeyPem } = await createSigningKey();
    const verdict = await verifyDatabase(database, { trustedKeyPem: publicKeyPem });
    expect(verdict.problem).toMatchObject({ entry: 5, kind: "checkpoint" });
  });

  it("cannot be cut back to an old checkpoint, nor rewritten, where a newer one was kept elsewhere", async () => {
    const database = await open();
    const checkpoints = await filled(database);
    await checkpoints.sign();
    const kept = await readCheckpoints(textOf(database));
    const rewindTo5 = async () => {
      await cut(database, 6, 12);
      await database.db.deleteFrom("audit_checkpoints").where("audit_id", ">", 5).execute();
      const { hash } = await rowOf(database, 5);
      await database.db.updateTable("audit_head").set({ last_id: 5, last_hash: hash }).execute();
    };
    await rewindTo5();
    expect((await verifyDatabase(database)).problem, "by itself it looks whole").toBeUndefined();
    expect((await verifyDatabase(database, { keptCheckpoints: kept })).problem).toMatchObject({
      entry: 6,
      kind: "missing",
    });
    await append(database, 7);
    await checkpoints.sign();
    expect((await verifyDatabase(database, { keptCheckpoints: kept })).problem).toMatchObject({
      entry: 6,
      kind: "rewritten",
    });
  });

  it("keeps one key, whoever starts first, and needs the right data key to sign", async () => {
    const database = await open();
    const [one, other] = await Promise.all([openCheckpoints(database), openCheckpoints(await open({ shared: true }))]);
    const keys = await Promise.all([one.publicKey(), other.publicKey()]);
    expect(keys[0]).toEqual(keys[1]);
    const keyring = await Keyring.open([{ number: 1, raw: new Uint8Array(32).fill(8) }]);
    const stranger = new Checkpoints({ database, keyring, clock: { now: () => Date.now() }, log });
    await expect(stranger.publicKey()).rejects.toMatchObject({ code: "seal_broken" });
  });

  it("has no gap and no fork when several processes write, roll back and sign at once", async () => {
    const database = await open();
    // A second connection to an SQLite file in one process would wait for itself; there, transactions take turns.
    const others =
      engine === "sqlite" ? [database, database] : [await open({ shared: true }), await open({ shared: true })];
    const signers = await Promise.all([database, ...others].map((each) => openCheckpoints(each)));
    await signers[0]?.publicKey();
    const broken = new Error("rolled back");
    const writes = [database, ...others].flatMap((each) =>
      Array.from({ length: 8 }, async (_, index) => {
        const entry = { action: "test.write", target: { type: "thing", id: String(index) } } as const;
        const attempt = each.transaction(async (tx) => {
          await appendEntries(tx, Date.now(), [signed(operator, entry), signed(operator, entry)]);
          if (index % 3 === 0) throw broken;
        });
        await attempt.catch((error: unknown) => {
          if (error !== broken) throw error;
        });
      }),
    );
    await Promise.all([...writes, ...signers.map((signer) => signer.sign())]);
    for (const signer of signers) expect(await signer.sign()).toBeUndefined();
    const verdict = await verifyDatabase(database);
    expect(verdict).toMatchObject({ problem: undefined, entries: 1 + 3 * 5 * 2, signedId: 31 });
  });

  it("is the same whatever database it is checked in", async () => {
    const database = await open();
    await filled(database);
    await database.db.updateTable("audit_log").set({ before: sql`before` }).execute();
    expect((await verifyExport(textOf(database))).problem).toBeUndefined();
  });

  describe("as an export", () => {
    const edits: readonly {
      readonly name: string;
      readonly entry: number;
      readonly kind: string;
      edit(lines: string[]): string[];
    }[] = [
      {
        name: "a field is flipped",
        entry: 4,
        kind: "altered",
        edit: (lines) => lines.map((line) => (isEntry(line, 4) ? line.replace("test.write", "test.wrote") : line)),
      },
      {
        name: "an entry is dropped",
        entry: 6,
        kind: "missing",
        edit: (lines) => lines.filter((line) => !isEntry(line, 6)),
      },
      {
        name: "an entry is doubled",
        entry: 6,
        kind: "misplaced",
        edit: (lines) => lines.flatMap((line) => (isEntry(line, 6) ? [line, line] : [line])),
      },
      {
        name: "two entries change places",
        entry: 7,
        kind: "missing",
        edit: (lines) => {
          const [seventh, eighth] = [lines.findIndex((l) => isEntry(l, 7)), lines.findIndex((l) => isEntry(l, 8))];
          return lines.with(seventh, lines[eighth] ?? "").with(eighth, lines[seventh] ?? "");
        },
      },
      {
        name: "the last lines are cut off",
        entry: 11,
        kind: "missing",
        edit: (lines) => lines.filter((line) => !isEntry(line, 11) && !isEntry(line, 12)),
      },
      {
        name: "the file breaks off",
        entry: 9,
        kind: "missing",
        edit: (lines) =>
          lines.slice(
            0,
            lines.findIndex((l) => isEntry(l, 9)),
          ),
      },
      {
        name: "half a line is there",
        entry: 9,
        kind: "format",
        edit: (lines) => lines.map((line) => (isEntry(line, 9) ? line.slice(0, 100) : line)),
      },
      {
        name: "a field is added that nothing covers",
        entry: 4,
        kind: "format",
        edit: (lines) => lines.map((line) => (isEntry(line, 4) ? line.replace("{", '{"approved_by":"ada",') : line)),
      },
      {
        name: "something follows the end",
        entry: 13,
        kind: "format",
        edit: (lines) => [...lines, lines.at(-2) ?? ""],
      },
      { name: "it is not one at all", entry: 1, kind: "format", edit: () => ["hello"] },
      { name: "it is empty", entry: 0, kind: "format", edit: () => [] },
    ];

    it.each(edits)("is found out when $name", async ({ edit, entry, kind }) => {
      const database = await open();
      await filled(database);
      const lines = await Array.fromAsync(textOf(database));
      expect((await verifyExport(each(edit(lines)))).problem).toMatchObject({ entry, kind });
    });
  });
});

function isEntry(line: string, id: number): boolean {
  return line.startsWith('{"type":"entry"') && (JSON.parse(line) as { id: number }).id === id;
}

async function* textOf(database: Database): AsyncGenerator<string> {
  for await (const line of exportLines(database)) yield JSON.stringify(line);
}

async function* each(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}
