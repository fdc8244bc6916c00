import { expect, it } from "vitest";
import { Conflict, InvalidInput } from "../../../src/errors.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { buildVaultWorld, setCredentials, type VaultWorld } from "../../support/vault-world.ts";

describeEachDatabase("vaults", (open) => {
  async function world(): Promise<VaultWorld> {
    return buildVaultWorld(await open());
  }

  it("belong to their creator", async () => {
    const { vaults, owner } = await world();
    await vaults.create(owner, "alpha");
    expect((await vaults.list(owner)).map(({ name, role }) => [name, role])).toEqual([
      ["alpha", "admin"],
      ["default", undefined],
    ]);
    expect(await vaults.list({ ...owner, role: "member" } as typeof owner)).toHaveLength(1);
  });

  it.each(["ab", "a".repeat(65), "Upper", "a--b", "-ab", "ab-", "a_b", "users"])(
    "are never called %s",
    async (name) => {
      const { vaults, owner } = await world();
      await expect(vaults.create(owner, name)).rejects.toThrow(InvalidInput);
    },
  );

  it("have names of their own, whoever comes first", async () => {
    const { vaults, owner } = await world();
    const attempts = await Promise.allSettled([vaults.create(owner, "alpha"), vaults.create(owner, "alpha")]);
    expect(attempts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const { id } = await vaults.create(owner, "beta");
    await expect(vaults.rename(owner, { id, name: "beta" }, "alpha")).rejects.toThrow(Conflict);
    await vaults.rename(owner, { id, name: "beta" }, "gamma");
    expect((await vaults.listAll()).map(({ name }) => name)).toEqual(["alpha", "default", "gamma"]);
  });

  it("take everything in them along when they go", async () => {
    const here = await world();
    const { id } = await here.vaults.create(here.owner, "alpha");
    await here.services.upsert(here.owner, id, [{ name: "svc", host: "a.example.com", auth: { type: "passthrough" } }]);
    await setCredentials(here, { KEPT: "in the default vault" });
    await here.vaults.delete(here.owner, id);
    const { db } = here.database;
    expect(await db.selectFrom("services").selectAll().execute()).toEqual([]);
    expect(await db.selectFrom("vault_grants").selectAll().where("vault_id", "=", id).execute()).toEqual([]);
    expect(await db.selectFrom("credentials").select("key").execute()).toEqual([{ key: "KEPT" }]);
    await here.vaults.create(here.owner, "alpha");
  });

  it("count the proposals that wait", async () => {
    const { vaults, owner, database } = await world();
    const { id } = await vaults.create(owner, "alpha");
    const now = new Date().toISOString();
    const proposal = (number: number, status: string) => ({
      id: crypto.randomUUID(),
      vault_id: id,
      number,
      status,
      services: "[]",
      credentials: "[]",
      message: "",
      user_message: "",
      proposed_by_type: null,
      proposed_by_id: null,
      proposed_by_session: null,
      reviewed_by_type: null,
      reviewed_by_id: null,
      review_note: "",
      reviewed_at: null,
      approval_token_digest: `digest-${number}`,
      approval_token_expires_at: now,
      created_at: now,
    });
    await database.db
      .insertInto("proposals")
      .values([proposal(1, "pending"), proposal(2, "pending"), proposal(3, "rejected")])
      .execute();
    const counts = (await vaults.list(owner)).map(({ name, pendingProposals }) => [name, pendingProposals]);
    expect(counts).toEqual([
      ["alpha", 2],
      ["default", 0],
    ]);
  });
});
