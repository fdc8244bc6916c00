import { expect, it } from "vitest";
import { Secret } from "../../../src/crypto/secret.ts";
import { parseDescription, parseExpiry } from "../../../src/domain/credentials/details.ts";
import { CredentialReminders } from "../../../src/domain/credentials/reminders.ts";
import { Mail, type MailTransport } from "../../../src/domain/mail.ts";
import { InvalidInput } from "../../../src/errors.ts";
import { type LogFields, silentLogger } from "../../../src/log.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { buildVaultWorld, type VaultWorld, defaultVaultId as vault } from "../../support/vault-world.ts";

const day = 86_400_000;

describeEachDatabase("the life of a credential", (open) => {
  const set = async (here: VaultWorld, key: string, value: string) =>
    here.credentials.set(here.owner, vault, new Map([[key, new Secret(value)]]));
  const value = async ({ credentials, owner }: VaultWorld, key: string) =>
    (await credentials.reveal(owner, vault, key))[0]?.value?.reveal();

  it("keeps the values before, and brings one back as a new version", async () => {
    const here = await buildVaultWorld(await open());
    for (const text of ["one", "two", "three"]) await set(here, "KEY", text);
    const listed = await here.credentials.versions(vault, "KEY");
    expect(listed.map(({ version, isCurrent }) => [version, isCurrent])).toEqual([
      [3, true],
      [2, false],
      [1, false],
    ]);
    expect(listed[0]?.createdBy).toEqual({ type: "user", name: "owner@example.com" });
    expect(await here.credentials.restore(here.owner, vault, "KEY", 1)).toBe(4);
    expect(await value(here, "KEY")).toBe("one");
    expect((await here.credentials.versions(vault, "KEY")).map(({ version }) => version)).toEqual([4, 3, 2, 1]);
  });

  it("ends the snapshot when a value comes back", async () => {
    const here = await buildVaultWorld(await open());
    await set(here, "KEY", "one");
    await set(here, "KEY", "two");
    await here.snapshots.load(vault);
    await here.credentials.restore(here.owner, vault, "KEY", 1);
    expect(here.snapshots.current(vault)).toBeUndefined();
  });

  it("keeps ten values, each sealed for its own number", async () => {
    const here = await buildVaultWorld(await open());
    for (let at = 1; at <= 13; at += 1) await set(here, "KEY", `value-${at}`);
    const rows = await here.database.db.selectFrom("credential_versions").selectAll().orderBy("version").execute();
    expect(rows.map(({ version }) => version)).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    for (const { value_sealed } of rows) {
      expect(Buffer.from(value_sealed ?? []).toString("latin1")).not.toContain("value-");
    }
    await expect(here.credentials.restore(here.owner, vault, "KEY", 3)).rejects.toMatchObject({
      code: "credential_version_not_found",
    });
    // Whoever can write the database cannot pass one version off as another.
    await here.database.db
      .updateTable("credential_versions")
      .set({ value_sealed: rows[0]?.value_sealed ?? null })
      .where("version", "=", 12)
      .execute();
    await expect(here.credentials.restore(here.owner, vault, "KEY", 12)).rejects.toMatchObject({ code: "seal_broken" });
    expect(await value(here, "KEY")).toBe("value-13");
  });

  it("gives versions their numbers one after the other, also when many are set at once", async () => {
    const here = await buildVaultWorld(await open());
    await Promise.all(Array.from({ length: 8 }, (_, at) => set(here, "KEY", `v${at}`)));
    const listed = await here.credentials.versions(vault, "KEY");
    expect(listed.map(({ version }) => version)).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
    expect(listed.filter(({ isCurrent }) => isCurrent).map(({ version }) => version)).toEqual([8]);
  });

  it("loses its versions with the credential", async () => {
    const here = await buildVaultWorld(await open());
    await set(here, "KEY", "one");
    await here.credentials.delete(here.owner, vault, ["KEY"]);
    expect(await here.database.db.selectFrom("credential_versions").selectAll().execute()).toEqual([]);
    await expect(here.credentials.versions(vault, "KEY")).rejects.toMatchObject({ code: "credential_not_found" });
  });

  it("has a description and an end, which go with the value that they were for", async () => {
    const here = await buildVaultWorld(await open());
    await set(here, "KEY", "one");
    const expiresAt = parseExpiry("2027-01-31");
    await here.credentials.annotate(here.owner, vault, "KEY", { description: "the live key", expiresAt });
    const [described] = (await here.credentials.describePage(vault)).items;
    expect(described).toMatchObject({ description: "the live key", expiresAt: "2027-01-31T00:00:00.000Z", version: 1 });
    await set(here, "KEY", "two");
    const [after] = (await here.credentials.describePage(vault)).items;
    expect([after?.description, after?.expiresAt]).toEqual(["the live key", undefined]);
    await here.credentials.annotate(here.owner, vault, "KEY", { description: null });
    expect((await here.credentials.describePage(vault)).items[0]?.description).toBeUndefined();
    await expect(here.credentials.annotate(here.owner, vault, "GHOST", { description: "x" })).rejects.toMatchObject({
      code: "credential_not_found",
    });
  });

  it("reminds admins fourteen days and three days before its end, and when it has come, once each", async () => {
    const here = await buildVaultWorld(await open());
    await here.database.db
      .insertInto("vault_grants")
      .values({
        id: crypto.randomUUID(),
        vault_id: vault,
        user_id: here.owner.id,
        agent_id: null,
        role: "admin",
        created_at: new Date().toISOString(),
      })
      .execute();
    const sent: Parameters<MailTransport["send"]>[0][] = [];
    const lines: LogFields[] = [];
    const log = { ...silentLogger, warn: (_event: string, fields: LogFields = {}) => void lines.push(fields) };
    const transport: MailTransport = { send: async (message) => void sent.push(message) };
    const mail = new Mail({ transport, output: () => undefined, log });
    const { database, clock } = here;
    // Two instances on one database.
    const instances = [0, 1].map(() => new CredentialReminders({ database, clock, log, mail }));
    const turn = () => Promise.all(instances.map((instance) => instance.remind()));
    const expiresAt = new Date(clock.now() + 20 * day).toISOString();
    await set(here, "SOON", "sk_live_1");
    await set(here, "NEVER", "x");
    await here.credentials.annotate(here.owner, vault, "SOON", { expiresAt });
    await turn();
    expect(sent).toEqual([]);
    for (const [days, count] of [
      [7, 1],
      [1, 1],
      [9.5, 2],
      [1, 2],
      [2, 3],
      [30, 3],
    ] as const) {
      clock.advance(days * day);
      await turn();
      expect(sent).toHaveLength(count);
      expect(lines).toHaveLength(count);
    }
    const about = { key: "SOON", expiresAt };
    expect(sent[0]).toMatchObject({
      to: "owner@example.com",
      subject: 'Credentials of the vault "default" end',
      text: expect.stringContaining(`SOON: ends on ${expiresAt}`),
      html: expect.stringContaining(`SOON: ends on ${expiresAt}`),
    });
    expect(sent[2]).toMatchObject({ text: expect.stringContaining(`SOON: ended on ${expiresAt}`) });
    expect(lines[2]).toEqual({ vault: "default", credentials: [{ ...about, hasEnded: true }] });
    expect(JSON.stringify([sent, lines])).not.toContain("sk_live_1");
  });
});

it.each([
  { text: "2027-02-31", because: "there is no such day" },
  { text: "31.01.2027", because: "it is not clear what is the day" },
  { text: "2027-01-31T12:00", because: "its zone is not known" },
  { text: "soon", because: "it is no date" },
  { text: "2027-13-01", because: "there is no such month" },
])("takes $text for no end: $because", ({ text }) => {
  expect(() => parseExpiry(text)).toThrow(InvalidInput);
});

it("reads dates and times, and an empty text as none", () => {
  expect(parseExpiry("2028-02-29")).toBe("2028-02-29T00:00:00.000Z");
  expect(parseExpiry("2027-01-31T12:00:00+02:00")).toBe("2027-01-31T10:00:00.000Z");
  expect(parseExpiry("")).toBeNull();
  expect(parseDescription("  the key ")).toBe("the key");
  expect(() => parseDescription("two\nlines")).toThrow(InvalidInput);
  expect(() => parseDescription("x".repeat(501))).toThrow(InvalidInput);
});
