/**
 * The data keys, from the database into memory: made at the first start, opened at every other. Also how their
 * protection changes; that rewraps the data keys and leaves everything sealed under them as it is.
 */
import { randomBytes } from "node:crypto";
import type { Transaction } from "kysely";
import { type Argon2Parameters, currentParameters } from "../crypto/argon2.ts";
import { Keyring, type RawDataKey } from "../crypto/keyring.ts";
import { noKeyProvider } from "../crypto/kms/none.ts";
import { formatPasswordRecord, PasswordKeyProvider, parsePasswordRecord } from "../crypto/kms/password.ts";
import { dataKeyContext, type KeyProvider } from "../crypto/kms/provider.ts";
import type { Secret } from "../crypto/secret.ts";
import { Conflict, Corrupt, InvalidInput, NotFound, Unauthenticated } from "../errors.ts";
import { type Logger, silentLogger } from "../log.ts";
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import { type AuditEntry, appendEntries, signed } from "./audit/append.ts";
import { operator, server } from "./audit/author.ts";

/** Why a person is asked: to choose a password (empty means none), or to give the one that was chosen. */
export interface PasswordQuestion {
  readonly purpose: "choose" | "give";
  /** From 1; a wrong answer is asked again. */
  readonly attempt: number;
}

/** Where the master password comes from. Whoever reads the environment removes the variable from it. */
export type MasterPasswordSource =
  | { readonly kind: "environment" | "stdin"; readonly password: Secret }
  /** Asked only when it is needed; undefined when the person gave up. */
  | { readonly kind: "prompt"; ask(question: PasswordQuestion): Promise<Secret | undefined> }
  /** Nothing was given and nobody can be asked. */
  | { readonly kind: "absent" };

const promptAttempts = 3;

/**
 * Opens the data keys, or makes the first one. First starts of several processes at once agree on one key.
 *
 * `cost` is that of deriving the wrapping key when a password is chosen: lower only where nothing is at stake.
 *
 * @throws {Unauthenticated} `wrong_master_password` or `master_password_required`; nothing was written.
 * @throws {Corrupt} when the keys or their record are damaged or belong to another instance.
 */
export async function openKeyring(
  database: Database,
  how: MasterPasswordSource,
  log: Logger = silentLogger,
  cost: Argon2Parameters = currentParameters,
): Promise<Keyring> {
  const stored = (await readProtection(database.db)) ?? (await createProtection(database, { how, log, cost }));
  if (stored.provider) return unlock(stored.protection, stored.provider);
  if (stored.protection.mode === noKeyProvider.label) {
    // An empty line is how a new instance is told to go without one.
    if ((how.kind === "environment" || how.kind === "stdin") && how.password.reveal() !== "") {
      log.warn("MASTER PASSWORD IGNORED: this instance is not protected by one", {
        remedy: "agent-vault master-password set",
      });
    }
    log.warn("data keys are stored unprotected", { remedy: "agent-vault master-password set" });
    return unlock(stored.protection, noKeyProvider);
  }
  return unlockWithPassword(stored.protection, how);
}

/** Protects a passwordless instance. @throws {Conflict} `master_password_already_set`. @throws {NotFound} */
export async function setMasterPassword(
  database: Database,
  password: Secret,
  cost: Argon2Parameters = currentParameters,
): Promise<void> {
  requireUsable(password);
  const protection = await getProtection(database);
  if (protection.mode !== noKeyProvider.label) {
    throw new Conflict("master_password_already_set", "This instance already has a master password", {
      hint: "agent-vault master-password change",
    });
  }
  const next = await PasswordKeyProvider.create(password, cost);
  await rewrap(database, protection, { from: noKeyProvider, to: next, action: "master_password.set" });
}

/** @throws {Unauthenticated} `wrong_master_password`. @throws {Conflict} `no_master_password`. @throws {NotFound} */
export async function changeMasterPassword(
  database: Database,
  passwords: { readonly current: Secret; readonly next: Secret },
  cost: Argon2Parameters = currentParameters,
): Promise<void> {
  requireUsable(passwords.next);
  const protection = await getProtectedByPassword(database);
  const current = await PasswordKeyProvider.open(passwords.current, parsePasswordRecord(protection.kdf ?? ""));
  await requireOpens(protection, current);
  const next = await PasswordKeyProvider.create(passwords.next, cost);
  await rewrap(database, protection, { from: current, to: next, action: "master_password.change" });
}

/** Leaves the data keys unprotected. @throws as `changeMasterPassword`. */
export async function removeMasterPassword(database: Database, password: Secret): Promise<void> {
  const protection = await getProtectedByPassword(database);
  const current = await PasswordKeyProvider.open(password, parsePasswordRecord(protection.kdf ?? ""));
  await rewrap(database, protection, { from: current, to: noKeyProvider, action: "master_password.remove" });
}

/** How the data keys are protected (`password`, `none`); undefined before the first start. */
export async function findProtectionMode(database: Database): Promise<string | undefined> {
  return (await readProtection(database.db))?.protection.mode;
}

/** The rows that say how the data keys are protected, and the wrapped keys. */
interface Protection {
  readonly instanceId: string;
  readonly mode: string;
  readonly kdf: string | null;
  readonly updatedAt: string;
  readonly keys: readonly { readonly number: number; readonly wrapped: Uint8Array }[];
}

interface Stored {
  readonly protection: Protection;
  /** Set when this process made the keys: it need not derive the wrapping key a second time. */
  readonly provider?: KeyProvider;
}

async function readProtection(db: Database["db"] | Transaction<Schema>): Promise<Stored | undefined> {
  const row = await db
    .selectFrom("key_protection")
    .innerJoin("instance", "instance.id", "key_protection.id")
    .select(["instance.instance_id", "mode", "kdf", "updated_at"])
    .executeTakeFirst();
  if (!row) return undefined;
  const keys = await db.selectFrom("data_keys").select(["number", "wrapped"]).orderBy("number").execute();
  return {
    protection: { instanceId: row.instance_id, mode: row.mode, kdf: row.kdf, updatedAt: row.updated_at, keys },
  };
}

async function getProtection(database: Database): Promise<Protection> {
  const stored = await readProtection(database.db);
  if (stored) return stored.protection;
  throw new NotFound("not_initialised", "This instance has no keys yet: its server was never started", {
    hint: "agent-vault server",
  });
}

async function getProtectedByPassword(database: Database): Promise<Protection> {
  const protection = await getProtection(database);
  if (protection.mode === "password") return protection;
  throw new Conflict("no_master_password", "This instance has no master password", {
    hint: "agent-vault master-password set",
  });
}

interface FirstStart {
  readonly how: MasterPasswordSource;
  readonly log: Logger;
  readonly cost: Argon2Parameters;
}

async function createProtection(database: Database, { how, log, cost }: FirstStart): Promise<Stored> {
  const password = await choosePassword(how);
  const provider = password ? await PasswordKeyProvider.create(password, cost) : noKeyProvider;
  const { instance_id: instanceId } = await database.db
    .selectFrom("instance")
    .select("instance_id")
    .executeTakeFirstOrThrow();
  const raw = new Uint8Array(randomBytes(32));
  const wrapped = await provider.wrap(raw, dataKeyContext(instanceId, 1));
  raw.fill(0);
  const isOurs = await database.transaction((tx) => insertProtection(tx, provider, wrapped));
  // Read again, whoever made it: what counts is what the next start will find.
  const stored = await readProtection(database.db);
  if (!stored) throw new Corrupt("key_protection_broken", "The record of the data keys vanished while it was made");
  if (!isOurs) return stored;
  log.info("data key created", { protection: provider.label });
  return provider === noKeyProvider ? stored : { ...stored, provider };
}

/** False when another process was first. */
async function insertProtection(tx: Transaction<Schema>, provider: KeyProvider, wrapped: Uint8Array): Promise<boolean> {
  const now = new Date().toISOString();
  const inserted = await tx
    .insertInto("key_protection")
    .values({ id: 1, mode: provider.label, kdf: kdfOf(provider), created_at: now, updated_at: now })
    .onConflict((conflict) => conflict.column("id").doNothing())
    .returning("id")
    .executeTakeFirst();
  if (!inserted) return false;
  await tx.insertInto("data_keys").values({ number: 1, wrapped, state: "active", created_at: now }).execute();
  const entry: AuditEntry = {
    action: "data_key.create",
    target: { type: "data_key", id: "1" },
    after: { mode: provider.label },
  };
  await appendEntries(tx, Date.parse(now), [signed(server, entry)]);
  return true;
}

async function choosePassword(how: MasterPasswordSource): Promise<Secret | undefined> {
  if (how.kind === "absent") return undefined;
  const password = how.kind === "prompt" ? await how.ask({ purpose: "choose", attempt: 1 }) : how.password;
  return password && password.reveal() !== "" ? password : undefined;
}

async function unlockWithPassword(protection: Protection, how: MasterPasswordSource): Promise<Keyring> {
  if (protection.mode !== "password") {
    throw new Corrupt("key_protection_broken", `The data keys are protected by "${protection.mode}", which is unknown`);
  }
  const record = parsePasswordRecord(protection.kdf ?? "");
  for (let attempt = 1; ; attempt += 1) {
    const password = await givePassword(how, attempt);
    const provider = await PasswordKeyProvider.open(password, record);
    try {
      return await unlock(protection, provider);
    } catch (error) {
      const isLast = how.kind !== "prompt" || attempt >= promptAttempts;
      if (isLast || !(error instanceof Unauthenticated)) throw error;
    }
  }
}

async function givePassword(how: MasterPasswordSource, attempt: number): Promise<Secret> {
  const password =
    how.kind === "absent"
      ? undefined
      : how.kind === "prompt"
        ? await how.ask({ purpose: "give", attempt })
        : how.password;
  if (password) return password;
  throw new Unauthenticated(
    "master_password_required",
    "This instance is protected by a master password, and none was given",
    {
      hint: "set AGENT_VAULT_MASTER_PASSWORD, pipe it to --password-stdin, or start in a terminal to be asked",
    },
  );
}

async function unlock(protection: Protection, provider: KeyProvider): Promise<Keyring> {
  return Keyring.open(await unwrapAll(protection, provider));
}

async function requireOpens(protection: Protection, provider: KeyProvider): Promise<void> {
  for (const { raw } of await unwrapAll(protection, provider)) raw.fill(0);
}

async function unwrapAll({ instanceId, keys }: Protection, provider: KeyProvider): Promise<readonly RawDataKey[]> {
  const opened: RawDataKey[] = [];
  for (const { number, wrapped } of keys) {
    const raw = await provider.unwrap(wrapped, dataKeyContext(instanceId, number));
    if (raw?.length === 32) {
      opened.push({ number, raw });
      continue;
    }
    for (const key of opened) key.raw.fill(0);
    if (provider.label === "password" && opened.length === 0) {
      throw new Unauthenticated("wrong_master_password", "The master password is wrong", {
        hint: "give the password that was chosen when this instance was first started, or last changed",
      });
    }
    throw new Corrupt(
      "data_key_broken",
      `Data key ${number} does not open: it was altered or belongs to another instance`,
    );
  }
  return opened;
}

interface Rewrap {
  readonly from: KeyProvider;
  readonly to: KeyProvider;
  readonly action: "master_password.set" | "master_password.change" | "master_password.remove";
}

/** All keys and their record in one transaction, or nothing when somebody else changed them meanwhile. */
async function rewrap(database: Database, protection: Protection, { from, to, action }: Rewrap): Promise<void> {
  const raw = await unwrapAll(protection, from);
  try {
    await database.transaction(async (tx) => {
      const replaced = await tx
        .updateTable("key_protection")
        .set({ mode: to.label, kdf: kdfOf(to), updated_at: new Date().toISOString() })
        .where("id", "=", 1)
        .where("mode", "=", protection.mode)
        .where("updated_at", "=", protection.updatedAt)
        .returning("id")
        .executeTakeFirst();
      const current = await tx.selectFrom("data_keys").select("number").orderBy("number").execute();
      const isSame = current.length === raw.length && current.every(({ number }, at) => number === raw[at]?.number);
      if (!replaced || !isSame) {
        throw new Conflict("key_protection_changed", "The protection of the keys was changed at the same time", {
          hint: "look at its state and try again",
        });
      }
      for (const key of raw) {
        const wrapped = await to.wrap(key.raw, dataKeyContext(protection.instanceId, key.number));
        await tx.updateTable("data_keys").set({ wrapped }).where("number", "=", key.number).execute();
      }
      const [before, after] = [{ mode: from.label }, { mode: to.label }];
      const entry = { action, target: { type: "master_password", id: "" }, before, after };
      await appendEntries(tx, Date.now(), [signed(operator, entry)]);
    });
  } finally {
    for (const key of raw) key.raw.fill(0);
  }
}

function kdfOf(provider: KeyProvider): string | null {
  return provider instanceof PasswordKeyProvider ? formatPasswordRecord(provider.record) : null;
}

function requireUsable(password: Secret): void {
  if (password.reveal() !== "") return;
  throw new InvalidInput("empty_master_password", "A master password cannot be empty", {
    hint: "agent-vault master-password remove",
  });
}
