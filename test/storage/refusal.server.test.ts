/** A database that is not ours, or of a newer version, stays exactly as it is. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import postgres, { type Sql } from "postgres";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../src/log.ts";
import { openDatabase } from "../../src/storage/database.ts";
import { createPostgresDatabase, type ScratchDatabase } from "../support/postgres.ts";

const fromTheFuture = "insert into migrations values ('9999-from-the-future', '2030-01-01T00:00:00.000Z')";
const refusedAs = (code: string) => expect.objectContaining({ code, message: expect.stringContaining("untouched") });

describe("an SQLite file", () => {
  let directory: string;
  let path: string;
  const open = () => openDatabase({ path }, silentLogger);

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "agent-vault-test-"));
    path = join(directory, "data", "vault.db");
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function write(content: string | Uint8Array): void {
    mkdirSync(join(directory, "data"));
    writeFileSync(path, content);
  }

  async function expectUntouched(code: string): Promise<void> {
    chmodSync(path, 0o640);
    const before = readFileSync(path);
    const files = readdirSync(join(directory, "data"));
    await expect(open()).rejects.toThrow(refusedAs(code));
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(join(directory, "data"))).toEqual(files);
    expect(statSync(path).mode & 0o777).toBe(0o640);
  }

  it("is made for its owner only, in a directory for its owner only", async () => {
    const database = await open();
    expect(statSync(join(directory, "data")).mode & 0o777).toBe(0o700);
    for (const file of readdirSync(join(directory, "data"))) {
      expect(statSync(join(directory, "data", file)).mode & 0o777, file).toBe(0o600);
    }
    await database.close();
  });

  it.each([
    ["a text", "these are my notes\n"],
    ["a text shorter than a header", "x"],
    ["a picture", Uint8Array.from([0x89, 0x50, 0x4e, 0x47, ...new Uint8Array(5_000)])],
    ["the beginning of an SQLite file", "SQLite format 3\0"],
  ])("that is %s is left alone", async (_, content) => {
    write(content);
    await expectUntouched("database_foreign");
  });

  it.each(["delete", "wal"])("of another program is left alone (journal mode %s)", async (mode) => {
    write("");
    const other = new DatabaseSync(path);
    other.exec(`pragma journal_mode = ${mode}; create table vaults (id text); insert into vaults values ('theirs')`);
    other.close();
    await expectUntouched("database_foreign");
  });

  it("of a newer agent-vault is left alone, and named as such", async () => {
    await (await open()).close();
    const newer = new DatabaseSync(path);
    newer.exec(`pragma user_version = 99; ${fromTheFuture}`);
    newer.close();
    await expectUntouched("database_newer");
  });

  it("that a newer agent-vault has open at the moment is left alone", async () => {
    await (await open()).close();
    const newer = new DatabaseSync(path);
    newer.exec(`pragma user_version = 99; ${fromTheFuture}`); // in the write-ahead log, not yet in the file
    await expectUntouched("database_newer");
    await expect(open()).rejects.toThrow("9999-from-the-future");
    newer.close();
  });

  it("that is empty is used, as when an earlier start was interrupted", async () => {
    write("");
    const database = await open();
    await database.ping();
    await database.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("that was claimed, but never filled, is used", async () => {
    write("");
    const interrupted = new DatabaseSync(path);
    interrupted.exec(`pragma application_id = ${0x41_56_4c_54}`);
    interrupted.close();
    const database = await open();
    await database.ping();
    await database.close();
  });

  it("is refused with a sentence when its place is a directory", async () => {
    mkdirSync(path, { recursive: true });
    await expect(open()).rejects.toThrow(expect.objectContaining({ code: "invalid_database_path" }));
  });
});

describe("a PostgreSQL database", () => {
  let scratch: ScratchDatabase;
  let sql: Sql;
  const open = (url = scratch.url) => openDatabase({ url, maxOpenConnections: 2 }, silentLogger);

  beforeEach(async () => {
    scratch = await createPostgresDatabase("empty");
    sql = postgres(scratch.url, { max: 1, onnotice: () => undefined });
  });
  afterEach(async () => {
    await sql.end();
    await scratch.drop();
  });

  async function expectUntouched(code: string): Promise<void> {
    const content = () =>
      sql`select relname, relkind from pg_class where relnamespace = 'public'::regnamespace order by 1`;
    const before = await content();
    await expect(open()).rejects.toThrow(refusedAs(code));
    expect([...(await content())]).toEqual([...before]);
  }

  it("that is empty is filled", async () => {
    const database = await open();
    expect(await database.db.selectFrom("vaults").select("name").execute()).toEqual([{ name: "default" }]);
    await database.close();
  });

  it("is filled once when several start at the same time", async () => {
    const all = await Promise.all([open(), open(), open()]);
    const ids = await Promise.all(all.map(({ db }) => db.selectFrom("instance").select("instance_id").execute()));
    expect(new Set(ids.map((rows) => rows[0]?.instance_id)).size).toBe(1);
    for (const database of all) await database.close();
  });

  it.each([
    ["tables", "create table orders (id int)"],
    ["a view", "create view orders as select 1"],
    ["a table named like ours", "create table instance (id int, name text); insert into instance values (1, 'theirs')"],
    [
      "a table just like ours",
      "create table instance (id int, product text, instance_id text); insert into instance values (1, 'theirs', 'x')",
    ],
    ["vaults of another program", "create table vaults (id text); create table users (id text)"],
  ])("with %s of another program is left alone", async (_, statements) => {
    await sql.unsafe(statements);
    await expectUntouched("database_foreign");
  });

  it("whose tables another schema holds is used", async () => {
    await sql.unsafe("create schema other; create table other.orders (id int)");
    await (await open()).close();
  });

  it("of a newer agent-vault is left alone", async () => {
    await (await open()).close();
    await sql.unsafe(fromTheFuture);
    await expectUntouched("database_newer");
  });

  it.each([
    ["not a url pa55word", "it is not a URL"],
    ["mysql://u:pa55word@h/db", "its scheme is mysql"],
    ["postgres://u:pa55word@h/db?sslmode=maybe", "sslmode must be one of"],
  ])("is refused by what is wrong with its URL, which is not shown: %s", async (url, says) => {
    const error = await open(url).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "invalid_database_url", message: expect.stringContaining(says) });
    expectSilence(error, "pa55word");
  });

  it("that is not there is named without its password", async () => {
    const error = await open("postgres://u:pa55word@127.0.0.1:1/db").catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "database_unreachable", message: expect.stringContaining("127.0.0.1:1/db") });
    expectSilence(error, "pa55word");
    const missing = await open(scratch.url.replace(/[^/]*$/, "nowhere")).catch((thrown: unknown) => thrown);
    expect(missing).toMatchObject({ code: "database_unreachable", message: expect.stringContaining("does not exist") });
  });

  it("may be told not to use TLS", async () => {
    await (await open(`${scratch.url}?sslmode=disable`)).close();
    await expect(open(`${scratch.url}?sslmode=require`)).rejects.toThrow();
  });
});

function expectSilence(error: unknown, secret: string): void {
  for (let at = error; at instanceof Error; at = at.cause) {
    expect(`${at.stack} ${JSON.stringify(Object.entries(at))} ${at.message}`).not.toContain(secret);
  }
}
