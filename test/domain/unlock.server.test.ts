import { describe, expect, it } from "vitest";
import type { Keyring, RecordKey } from "../../src/crypto/keyring.ts";
import { Secret } from "../../src/crypto/secret.ts";
import {
  changeMasterPassword as changePassword,
  findProtectionMode,
  type MasterPasswordSource,
  openKeyring as openKeys,
  type PasswordQuestion,
  removeMasterPassword,
  setMasterPassword as setPassword,
} from "../../src/domain/unlock.ts";
import { type Logger, silentLogger } from "../../src/log.ts";
import type { Database } from "../../src/storage/database.ts";
import { describeEachDatabase } from "../support/database.ts";

// The cheapest cost that is allowed: with the usual one this file takes minutes on a busy machine.
const cost = { time: 1, memoryKib: 8 * 1024, threads: 1 };
const openKeyring = (database: Database, how: MasterPasswordSource, log: Logger = silentLogger) =>
  openKeys(database, how, log, cost);
const setMasterPassword = (database: Database, password: Secret) => setPassword(database, password, cost);
const changeMasterPassword = (database: Database, passwords: { current: Secret; next: Secret }) =>
  changePassword(database, passwords, cost);

const owner: RecordKey = ["credentials", "c1", "value_sealed"];
const absent: MasterPasswordSource = { kind: "absent" };
const given = (password: string): MasterPasswordSource => ({ kind: "environment", password: new Secret(password) });
const code = (expected: string) => expect.objectContaining({ code: expected });

/** A person who types these answers, and what they were asked. */
function typing(...answers: (string | undefined)[]) {
  const asked: PasswordQuestion[] = [];
  const ask = async (question: PasswordQuestion) => {
    const answer = answers[asked.length];
    asked.push(question);
    return answer === undefined ? undefined : new Secret(answer);
  };
  return { asked, source: { kind: "prompt", ask } satisfies MasterPasswordSource };
}

function recordingLog(): { log: Logger; warnings: string[] } {
  const warnings: string[] = [];
  return { warnings, log: { ...silentLogger, warn: (event) => void warnings.push(event) } };
}

async function opens(keyring: Keyring, sealed: Uint8Array): Promise<boolean> {
  return keyring.unsealText(owner, sealed).then(
    (text) => text === "sk_live_1",
    () => false,
  );
}

/** Everything that says how the keys are protected. */
async function protection({ db }: Database): Promise<unknown> {
  return [
    await db.selectFrom("key_protection").selectAll().execute(),
    await db.selectFrom("data_keys").selectAll().execute(),
  ];
}

describeEachDatabase("the keys of an instance", (open) => {
  it("are made at the first start and opened with the same password at the next", async () => {
    const database = await open();
    expect(await findProtectionMode(database)).toBeUndefined();
    const sealed = await (await openKeyring(database, given("correct horse"))).seal(owner, "sk_live_1");
    expect(await findProtectionMode(database)).toBe("password");
    const before = await protection(database);
    expect(await opens(await openKeyring(database, given("correct horse")), sealed)).toBe(true);
    expect(await protection(database)).toEqual(before);
  });

  it.each<[string, MasterPasswordSource, string]>([
    ["a wrong password", given("wrong horse"), "wrong_master_password"],
    ["a wrong password on standard input", { kind: "stdin", password: new Secret("x") }, "wrong_master_password"],
    ["an empty password", given(""), "wrong_master_password"],
    ["no password", absent, "master_password_required"],
  ])("stay closed to %s, and nothing is written", async (_, source, expected) => {
    const database = await open();
    await openKeyring(database, given("correct horse"));
    const before = await protection(database);
    await expect(openKeyring(database, source)).rejects.toThrow(code(expected));
    expect(await protection(database)).toEqual(before);
  });

  it("lie open without a password, and the log says so every time", async () => {
    const database = await open();
    const { log, warnings } = recordingLog();
    const sealed = await (await openKeyring(database, absent, log)).seal(owner, "sk_live_1");
    expect(await findProtectionMode(database)).toBe("none");
    expect(await opens(await openKeyring(database, absent, log), sealed)).toBe(true);
    expect(warnings).toEqual(Array(2).fill("data keys are stored unprotected"));
  });

  it("ignore a password that protects nothing, loudly", async () => {
    const database = await open();
    const sealed = await (await openKeyring(database, absent)).seal(owner, "sk_live_1");
    const { log, warnings } = recordingLog();
    expect(await opens(await openKeyring(database, given("believed to protect"), log), sealed)).toBe(true);
    expect(warnings[0]).toMatch(/MASTER PASSWORD IGNORED/);
    expect(await findProtectionMode(database)).toBe("none");
  });

  it("lie open for the empty password that says so, without a word about an ignored one", async () => {
    const database = await open();
    const { log, warnings } = recordingLog();
    await openKeyring(database, given(""), log);
    expect(warnings).toEqual(["data keys are stored unprotected"]);
  });

  it("are one and the same for several processes that start for the first time at once", async () => {
    const database = await open();
    const others = [await open({ shared: true }), await open({ shared: true })];
    const keyrings = await Promise.all([database, ...others].map((each) => openKeyring(each, given("correct horse"))));
    const sealed = await keyrings[0]?.seal(owner, "sk_live_1");
    expect(sealed).toBeDefined();
    for (const keyring of keyrings) expect(await opens(keyring, sealed ?? new Uint8Array())).toBe(true);
    expect(await database.db.selectFrom("data_keys").select("number").execute()).toEqual([{ number: 1 }]);
  });

  it("belong to the winner when first starts disagree on the password", async () => {
    const database = await open();
    const other = await open({ shared: true });
    const results = await Promise.allSettled([openKeyring(database, given("one")), openKeyring(other, given("two"))]);
    expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    const failed = results.find((result) => result.status === "rejected");
    expect(failed?.reason).toMatchObject({ code: "wrong_master_password" });
  });

  it("do not open in another instance, even with the right password", async () => {
    const database = await open();
    await openKeyring(database, given("correct horse"));
    await database.db.updateTable("instance").set({ instance_id: "another" }).execute();
    await expect(openKeyring(database, given("correct horse"))).rejects.toThrow(code("wrong_master_password"));
  });

  describe("at a prompt", () => {
    it("are protected by what a person chooses, and by nothing when that is empty", async () => {
      const chosen = typing("correct horse");
      const database = await open();
      await openKeyring(database, chosen.source);
      expect(chosen.asked).toEqual([{ purpose: "choose", attempt: 1 }]);
      expect(await findProtectionMode(database)).toBe("password");

      const empty = typing("");
      const passwordless = await open();
      await openKeyring(passwordless, empty.source);
      expect(await findProtectionMode(passwordless)).toBe("none");
      await openKeyring(passwordless, empty.source);
      expect(empty.asked).toHaveLength(1); // nothing to ask for at the second start
    });

    it("open at the third attempt, not at a fourth, and not when the person gives up", async () => {
      const database = await open();
      await openKeyring(database, given("right"));
      const third = typing("wrong", "", "right");
      await openKeyring(database, third.source);
      expect(third.asked.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
      const fourth = typing("wrong", "wrong", "wrong", "right");
      await expect(openKeyring(database, fourth.source)).rejects.toThrow(code("wrong_master_password"));
      expect(fourth.asked).toHaveLength(3);
      await expect(openKeyring(database, typing("wrong", undefined).source)).rejects.toThrow(
        code("master_password_required"),
      );
    });
  });

  it("are rewrapped, not replaced, when a password is set, changed and removed", async () => {
    const database = await open();
    const sealed = await (await openKeyring(database, absent)).seal(owner, "sk_live_1");
    const raw = await database.db.selectFrom("data_keys").select("wrapped").executeTakeFirstOrThrow();

    await setMasterPassword(database, new Secret("one"));
    const wrapped = await database.db.selectFrom("data_keys").select("wrapped").executeTakeFirstOrThrow();
    expect(Buffer.from(wrapped.wrapped).includes(Buffer.from(raw.wrapped))).toBe(false);
    expect(await opens(await openKeyring(database, given("one")), sealed)).toBe(true);

    await changeMasterPassword(database, { current: new Secret("one"), next: new Secret("two") });
    expect(await opens(await openKeyring(database, given("two")), sealed)).toBe(true);
    await expect(openKeyring(database, given("one"))).rejects.toThrow(code("wrong_master_password"));

    await removeMasterPassword(database, new Secret("two"));
    expect(await opens(await openKeyring(database, absent), sealed)).toBe(true);
  });

  it("keep their protection when the change is refused", async () => {
    const database = await open();
    const none = new Secret("");
    const one = new Secret("one");
    await expect(setMasterPassword(database, one)).rejects.toThrow(code("not_initialised"));
    await expect(removeMasterPassword(database, one)).rejects.toThrow(code("not_initialised"));
    await openKeyring(database, absent);
    await expect(setMasterPassword(database, none)).rejects.toThrow(code("empty_master_password"));
    await expect(removeMasterPassword(database, one)).rejects.toThrow(code("no_master_password"));
    await expect(changeMasterPassword(database, { current: one, next: one })).rejects.toThrow(
      code("no_master_password"),
    );
    await setMasterPassword(database, one);
    const before = await protection(database);
    const wrong = new Secret("wrong");
    await expect(setMasterPassword(database, wrong)).rejects.toThrow(code("master_password_already_set"));
    await expect(removeMasterPassword(database, wrong)).rejects.toThrow(code("wrong_master_password"));
    await expect(changeMasterPassword(database, { current: wrong, next: one })).rejects.toThrow(
      code("wrong_master_password"),
    );
    await expect(changeMasterPassword(database, { current: one, next: none })).rejects.toThrow(
      code("empty_master_password"),
    );
    expect(await protection(database)).toEqual(before);
  });

  it("are changed by one of two who change them at the same time", async () => {
    const database = await open();
    await openKeyring(database, given("one"));
    const change = (next: string) =>
      changeMasterPassword(database, { current: new Secret("one"), next: new Secret(next) });
    const results = await Promise.allSettled([change("two"), change("three")]);
    expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    const winner = results[0]?.status === "fulfilled" ? "two" : "three";
    await openKeyring(database, given(winner));
  });
});
