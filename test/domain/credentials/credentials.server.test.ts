import { expect, it } from "vitest";
import { Secret } from "../../../src/crypto/secret.ts";
import { Conflict, InvalidInput, NotFound } from "../../../src/errors.ts";
import { describeEachDatabase } from "../../support/database.ts";
import {
  buildVaultWorld,
  setCredentials,
  type VaultWorld,
  defaultVaultId as vault,
} from "../../support/vault-world.ts";

async function revealed({ credentials, owner }: VaultWorld): Promise<Record<string, string | undefined>> {
  return Object.fromEntries((await credentials.reveal(owner, vault)).map(({ key, value }) => [key, value?.reveal()]));
}

describeEachDatabase("credentials of a vault", (open) => {
  async function world(): Promise<VaultWorld> {
    return buildVaultWorld(await open());
  }

  it("come back as they were set, sorted by key", async () => {
    const here = await world();
    const values = { ZED: "z", A_1: "", MID: 'pä\u0000ss\n"<>&\u2028', A: "x".repeat(100_000) };
    await setCredentials(here, values);
    expect(await revealed(here)).toEqual(values);
    expect((await here.credentials.list(vault)).map(({ key }) => key)).toEqual(["A", "A_1", "MID", "ZED"]);
  });

  it("are stored sealed, each time anew", async () => {
    const here = await world();
    await setCredentials(here, { ONE: "the-same-value", TWO: "the-same-value" });
    const rows = await here.database.db.selectFrom("credentials").select("value_sealed").execute();
    const stored = rows.map(({ value_sealed }) => Buffer.from(value_sealed ?? []).toString("latin1"));
    expect(stored.every((text) => !text.includes("the-same-value"))).toBe(true);
    expect(new Set(stored).size).toBe(2);
  });

  it("are set all or none", async () => {
    const here = await world();
    const values = new Map([
      ["GOOD_ONE", new Secret("v")],
      ["bad", new Secret("v")],
    ]);
    const attempt = here.credentials.set(here.owner, vault, values);
    await expect(attempt).rejects.toThrow(InvalidInput);
    await expect(attempt).rejects.toThrow(
      'Invalid credential key "bad": must be SCREAMING_SNAKE_CASE (e.g. STRIPE_KEY)',
    );
    expect(await here.credentials.list(vault)).toEqual([]);
  });

  it("are deleted all or none", async () => {
    const here = await world();
    await setCredentials(here, { A: "1", B: "2" });
    await expect(here.credentials.delete(here.owner, vault, ["A", "GHOST"])).rejects.toThrow(NotFound);
    expect(await revealed(here)).toEqual({ A: "1", B: "2" });
    expect(await here.credentials.delete(here.owner, vault, ["A", "A"])).toEqual(["A"]);
    expect(await revealed(here)).toEqual({ B: "2" });
  });

  it("lose an OAuth connection when a value is set by hand", async () => {
    const here = await world();
    await setCredentials(here, { TOKEN: "old" });
    const { db } = here.database;
    const { id } = await db.selectFrom("credentials").select("id").executeTakeFirstOrThrow();
    await db.updateTable("credentials").set({ type: "oauth" }).where("id", "=", id).execute();
    await db
      .insertInto("credential_oauth")
      .values({
        credential_id: id,
        authorization_url: null,
        token_url: "https://idp.example.com/token",
        client_id: "c",
        client_secret_sealed: null,
        scopes: "",
        scope_separator: " ",
        disable_pkce: 0,
        token_auth_method: "client_secret_post",
        refresh_token_sealed: null,
        token_expires_at: null,
        connected_at: null,
        last_refreshed_at: null,
        last_refresh_error: null,
        last_refresh_error_at: null,
      })
      .execute();
    await setCredentials(here, { TOKEN: "new" });
    expect(await here.credentials.list(vault)).toEqual([{ key: "TOKEN", type: "static" }]);
    expect(await db.selectFrom("credential_oauth").selectAll().execute()).toEqual([]);
  });

  it("belong to the external store where there is one", async () => {
    const here = await world();
    const now = new Date().toISOString();
    await here.database.db
      .insertInto("credential_stores")
      .values({
        vault_id: vault,
        kind: "infisical",
        configuration: "{}",
        poll_interval_seconds: 60,
        last_synced_at: null,
        last_sync_status: null,
        last_sync_error: null,
        created_at: now,
        updated_at: now,
      })
      .execute();
    await expect(setCredentials(here, { A: "1" })).rejects.toThrow(Conflict);
    await expect(here.credentials.delete(here.owner, vault, ["A"])).rejects.toMatchObject({
      code: "external_credential_store",
    });
  });

  it("reveal one key, or say that it is not there", async () => {
    const here = await world();
    await setCredentials(here, { A: "1", B: "2" });
    expect((await here.credentials.reveal(here.owner, vault, "B")).map(({ value }) => value?.reveal())).toEqual(["2"]);
    await expect(here.credentials.reveal(here.owner, vault, "C")).rejects.toThrow('Credential "C" not found');
  });
});
