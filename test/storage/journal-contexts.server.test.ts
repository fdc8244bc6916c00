import { sql } from "kysely";
import { expect, it } from "vitest";
import { firstSchema } from "../../src/storage/migrations/0001-first-schema.ts";
import { journalIndex } from "../../src/storage/migrations/0006-journal.ts";
import { journalContexts } from "../../src/storage/migrations/0007-journal-contexts.ts";
import { postgresWords, sqliteWords } from "../../src/storage/migrations/migrations.ts";
import { describeEachDatabase } from "../support/database.ts";

const seed = { instanceId: "i", now: "2026-01-31T12:00:00.000Z" };

describeEachDatabase("a journal from before its contexts", (open) => {
  it("reads the same afterwards, row for row", async () => {
    const { db, engine } = await open();
    const words = engine === "sqlite" ? sqliteWords : postgresWords;
    const run = async (statements: readonly string[]) => {
      for (const statement of statements) await sql.raw(statement).execute(db);
    };
    // Back to what there was.
    await run(["drop view request_log", ...words.dropDeleteWithVault("request_entries")]);
    await run(["drop table request_entries", "drop table request_contexts"]);
    await run(firstSchema.statements(words, seed).filter((statement) => statement.includes("request_log")));
    await run(journalIndex.statements(words, seed));

    const row = (
      path: string,
      host: string,
      flags = "{}",
    ) => `('v', 'r${path}', 'user', 'u', 's', 'mitm', 'GET', 'https',
      '${host}', '${path}', 'svc', '["K"]', 200, '', 'bearer', 'Authorization', '::1', 1, 5000000000, 3, null, '${flags}',
      '2026-01-31T12:00:00.250Z')`;
    const columns = `vault_id, request_id, actor_type, actor_id, session_id, ingress, method, scheme, host, path,
      matched_service, credential_keys, status, error_code, auth_scheme, auth_header, client_ip, bytes_in, bytes_out,
      latency_ms, upstream_ms, flags, created_at`;
    const rows = [row("/1", "a:443"), row("/2", "b:443"), row("/3", "a:443", '{"coalesced":7}'), row("/4", "a:443")];
    await run([`insert into request_log (${columns}) values ${rows.join(", ")}`]);
    const read = async () =>
      (await db.selectFrom("request_log").selectAll().orderBy("id").execute()).map((one) => ({ ...one }));
    const before = await read();

    await run(journalContexts.statements(words, seed));

    expect(before).toHaveLength(4);
    expect(await read()).toEqual(before);
    expect(await db.selectFrom("request_contexts").selectAll().execute()).toHaveLength(2);
  });
});
