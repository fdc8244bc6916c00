import { expect, it } from "vitest";
import type { Target, VaultSnapshot } from "../../../src/domain/vaults/snapshot.ts";
import { NotFound, UpstreamFailed } from "../../../src/errors.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { buildVaultWorld, defaultVaultId, setCredentials, type VaultWorld } from "../../support/vault-world.ts";

const github = { name: "github", host: "api.github.com", auth: { type: "bearer", token: "TOK" } };
const target: Target = { scheme: "https", host: "api.github.com", port: 443, path: "/user", method: "GET" };

/** What the proxy would put into a request to the target. */
async function injected(snapshot: VaultSnapshot, at = target) {
  const found = snapshot.match(at);
  if (found.kind !== "service") throw new Error(found.kind);
  return (await snapshot.injectionFor(found.service)).headers;
}

async function failure(promise: Promise<unknown>): Promise<UpstreamFailed> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof UpstreamFailed) return error;
  throw new Error(`expected UpstreamFailed, got ${String(error)}`);
}

describeEachDatabase("snapshots", (open) => {
  async function world(): Promise<VaultWorld> {
    return buildVaultWorld(await open());
  }

  it("are loaded once for all who wait, and kept", async () => {
    const { snapshots } = await world();
    expect(snapshots.current(defaultVaultId)).toBeUndefined();
    const [one, other] = await Promise.all([snapshots.load(defaultVaultId), snapshots.load(defaultVaultId)]);
    expect(one).toBe(other);
    expect(snapshots.current(defaultVaultId)).toBe(one);
    expect(one).toMatchObject({ vaultName: "default", unmatchedHostPolicy: "passthrough", scrubMode: "redact" });
  });

  it("end with every kind of change to their vault", async () => {
    const here = await world();
    const { snapshots, services, vaultSettings, credentials, owner } = here;
    const vault = { id: defaultVaultId, name: "default" };
    const edits: (() => Promise<unknown>)[] = [
      () => services.upsert(owner, defaultVaultId, [github]),
      () => services.setEnabled(owner, defaultVaultId, "github", { isEnabled: false }),
      () => services.replace(owner, defaultVaultId, [github]),
      () => setCredentials(here, { TOK: "one" }),
      () => setCredentials(here, { TOK: "two" }),
      () => credentials.delete(owner, defaultVaultId, ["TOK"]),
      () => vaultSettings.write(owner, vault, { unmatchedHostPolicy: "deny" }),
      () => vaultSettings.write(owner, vault, { scrubMode: "block" }),
      () => services.remove(owner, defaultVaultId, "github"),
      () => services.clear(owner, defaultVaultId),
    ];
    for (const edit of edits) {
      const before = await snapshots.load(defaultVaultId);
      await edit();
      expect(snapshots.current(defaultVaultId)).toBeUndefined();
      expect((await snapshots.load(defaultVaultId)).version).toBe(before.version + 1);
    }
    expect(await snapshots.load(defaultVaultId)).toMatchObject({ unmatchedHostPolicy: "deny", scrubMode: "block" });
  });

  it("stay when another vault changes, and go when it is unknown what changed", async () => {
    const { snapshots, vaults, services, owner } = await world();
    const kept = await snapshots.load(defaultVaultId);
    const other = await vaults.create(owner, "other");
    await services.upsert(owner, other.id, [github]);
    expect(snapshots.current(defaultVaultId)).toBe(kept);
    expect((await snapshots.load(other.id)).match(target)).toMatchObject({ kind: "service" });
    expect(kept.match(target)).toEqual({ kind: "none" });
  });

  it("are not kept when their vault changed while they were read", async () => {
    const { snapshots, services, owner } = await world();
    const early = snapshots.load(defaultVaultId);
    await services.upsert(owner, defaultVaultId, [github]);
    await early;
    const later = snapshots.current(defaultVaultId) ?? (await snapshots.load(defaultVaultId));
    expect(later.match(target)).toMatchObject({ kind: "service" });
  });

  it("end with the vault", async () => {
    const { snapshots, vaults, owner } = await world();
    const { id } = await vaults.create(owner, "short-lived");
    await snapshots.load(id);
    await vaults.delete(owner, id);
    expect(snapshots.current(id)).toBeUndefined();
    await expect(snapshots.load(id)).rejects.toThrow(NotFound);
  });

  it("render headers once, then answer without waiting for a minute", async () => {
    const here = await world();
    await here.services.upsert(here.owner, defaultVaultId, [github]);
    await setCredentials(here, { TOK: "sk_live_1" });
    const snapshot = await here.snapshots.load(defaultVaultId);
    const found = snapshot.match(target);
    if (found.kind !== "service") throw new Error(found.kind);

    const first = snapshot.injectionFor(found.service);
    expect(first).toBeInstanceOf(Promise);
    expect(snapshot.injectionFor(found.service)).toBe(first);
    expect(await first).toEqual({
      headers: [{ name: "Authorization", value: "Bearer sk_live_1" }],
      values: new Map([["TOK", "sk_live_1"]]),
      isRenewable: false,
    });
    here.clock.advance(59_000);
    expect(snapshot.injectionFor(found.service)).toBe(await first);
    here.clock.advance(2_000);
    expect(snapshot.injectionFor(found.service)).toBeInstanceOf(Promise);
  });

  it("need no credential for a passthrough service", async () => {
    const here = await world();
    await here.services.upsert(here.owner, defaultVaultId, [{ ...github, auth: { type: "passthrough" } }]);
    expect(await injected(await here.snapshots.load(defaultVaultId))).toEqual([]);
  });

  it("hand over what a substitution needs, of passthrough services as well", async () => {
    const here = await world();
    const substitutions = [{ key: "SID", placeholder: "__sid__", in: ["path"] }];
    await here.services.upsert(here.owner, defaultVaultId, [
      { ...github, auth: { type: "passthrough" }, substitutions },
    ]);
    await setCredentials(here, { SID: "AC123", OTHER: "not asked for" });
    const snapshot = await here.snapshots.load(defaultVaultId);
    const found = snapshot.match(target);
    if (found.kind !== "service") throw new Error(found.kind);
    expect(await snapshot.injectionFor(found.service)).toEqual({
      headers: [],
      values: new Map([["SID", "AC123"]]),
      isRenewable: false,
    });
  });

  it("name the missing credentials and nothing else", async () => {
    const here = await world();
    const auth = { type: "basic", username: "USR", password: "PWD" };
    await here.services.upsert(here.owner, defaultVaultId, [{ ...github, auth }]);
    await setCredentials(here, { USR: "ann" });
    const error = await failure(injected(await here.snapshots.load(defaultVaultId)));
    expect(error).toMatchObject({ status: 502, code: "credential_not_found", details: { credential_keys: ["PWD"] } });
    expect(error.message).not.toContain("ann");
  });

  it.each([
    { value: "line\nbreak", because: "a line feed begins another header" },
    { value: "trailing\r", because: "a carriage return ends a line for some servers" },
    { value: "nul\u0000byte", because: "NUL cuts the value for some servers" },
  ])("refuse a value with control characters: $because", async ({ value }) => {
    const here = await world();
    await here.services.upsert(here.owner, defaultVaultId, [github]);
    await setCredentials(here, { TOK: value });
    const error = await failure(injected(await here.snapshots.load(defaultVaultId)));
    expect(error).toMatchObject({ status: 502, code: "credential_unusable", details: { credential_keys: ["TOK"] } });
    expect(error.message).not.toContain(value);
  });

  it("write text beyond ASCII as UTF-8 bytes, one character each", async () => {
    const here = await world();
    await here.services.upsert(here.owner, defaultVaultId, [github]);
    await setCredentials(here, { TOK: "pä" });
    expect(await injected(await here.snapshots.load(defaultVaultId))).toEqual([
      { name: "Authorization", value: "Bearer p\u00c3\u00a4" },
    ]);
  });

  it("do not open a value that was moved from another credential", async () => {
    const here = await world();
    await here.services.upsert(here.owner, defaultVaultId, [github]);
    await setCredentials(here, { TOK: "mine", STOLEN: "theirs" });
    const { db } = here.database;
    const stolen = await db
      .selectFrom("credentials")
      .select("value_sealed")
      .where("key", "=", "STOLEN")
      .executeTakeFirstOrThrow();
    await db.updateTable("credentials").set({ value_sealed: stolen.value_sealed }).where("key", "=", "TOK").execute();
    here.snapshots.close();
    const error = await failure(injected(await here.snapshots.load(defaultVaultId)));
    expect(error.code).toBe("credential_not_found");
  });
});
