/**
 * Runs a suite on both engines, each test on a fresh database as a first start leaves it:
 *
 *     describeEachDatabase("vaults", (open) => {
 *       it("have unique names", async () => {
 *         const database = await open();          // closed and removed after the test
 *
 * `open({ shared: true })` opens the database of the last `open()` once more, as a second process would. Name the file
 * `*.server.test.ts`: it needs a PostgreSQL, which is started when the first test asks for it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe } from "vitest";
import { silentLogger } from "../../src/log.ts";
import { type Database, openDatabase } from "../../src/storage/database.ts";
import { createPostgresDatabase } from "./postgres.ts";

export type OpenDatabase = (how?: { readonly shared?: boolean }) => Promise<Database>;

interface Place {
  open(): Promise<Database>;
  remove(): Promise<void>;
}

export function describeEachDatabase(
  name: string,
  suite: (open: OpenDatabase, engine: Database["engine"]) => void,
): void {
  const engines = { sqlite: makeSqlite, postgres: makePostgres };
  for (const [engine, make] of Object.entries(engines)) {
    describe(`${name} (${engine})`, () => {
      const databases: Database[] = [];
      const places: Place[] = [];
      afterEach(async () => {
        for (const database of databases.splice(0)) await database.close();
        for (const place of places.splice(0)) await place.remove();
      });
      const open: OpenDatabase = async (how = {}) => {
        const last = places.at(-1);
        const place = how.shared && last ? last : await make();
        if (place !== last) places.push(place);
        const database = await place.open();
        databases.push(database);
        return database;
      };
      suite(open, engine as Database["engine"]);
    });
  }
}

async function makeSqlite(): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), "agent-vault-test-"));
  return {
    open: () => openDatabase({ path: join(directory, "vault.db") }, silentLogger),
    remove: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

async function makePostgres(): Promise<Place> {
  const { url, drop } = await createPostgresDatabase();
  return {
    open: () => openDatabase({ url, maxOpenConnections: 5 }, silentLogger),
    remove: drop,
  };
}
