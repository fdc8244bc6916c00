import {
  createRoot,
  exportPrivateKey,
  generateKeyPair,
  issueLeaf,
  type KeyPair,
  leafLifetimeMs,
  loadRoot,
  privateKeyPem,
  type Root,
} from "../crypto/certificate.ts";
import type { Keyring, RecordKey } from "../crypto/keyring.ts";
import { uuidv7 } from "../crypto/token.ts";
import { Corrupt } from "../errors.ts";
import { createServerContext, type SecureContext } from "../runtime/tls.ts";
import type { Database } from "../storage/database.ts";
import { appendEntries, signed } from "./audit/append.ts";
import { server } from "./audit/author.ts";
import type { Clock } from "./clock.ts";

/** What a TLS server needs to speak for a name. */
export type LeafContext = SecureContext;

export interface AuthorityOptions {
  /** Host of the server's own base URL: every leaf is valid for it too, so that clients may verify the proxy's name. */
  readonly ownHost?: string;
}

interface Leaf {
  readonly context: LeafContext;
  readonly renewAtMs: number;
}

const maxLeaves = 1024;
const renewEarlyMs = 5 * 60_000;

/**
 * The certificate authority: a root whose key is sealed in the database, and leaves made once per name. All leaves
 * share one key pair, which lives as long as the process.
 */
export class Authority {
  readonly #root: Root;
  readonly #keys: KeyPair;
  readonly #keyPem: string;
  readonly #clock: Clock;
  readonly #ownHost: string | undefined;
  /** In order of last use. */
  readonly #leaves = new Map<string, Leaf>();
  readonly #minting = new Map<string, Promise<LeafContext>>();

  private constructor(root: Root, keys: KeyPair, keyPem: string, clock: Clock, ownHost: string | undefined) {
    this.#root = root;
    this.#keys = keys;
    this.#keyPem = keyPem;
    this.#clock = clock;
    this.#ownHost = ownHost?.replace(/^\[|\]$/g, ""); // a URL writes IPv6 in brackets, a certificate does not
  }

  /**
   * Loads the root, or makes it. Instances that start at once all end up with the same one.
   *
   * @throws {Corrupt} when the stored key does not open.
   */
  static async open(
    database: Database,
    keyring: Keyring,
    clock: Clock,
    options: AuthorityOptions = {},
  ): Promise<Authority> {
    const root = (await findRoot(database, keyring)) ?? (await establishRoot(database, keyring, clock));
    const keys = await generateKeyPair();
    return new Authority(root, keys, await privateKeyPem(keys.privateKey), clock, options.ownHost);
  }

  /** Leaves made since the start. */
  minted = 0;

  /** When the root certificate ends. */
  get rootEndsAtMs(): number {
    return this.#root.certificate.notAfter.getTime();
  }

  /** The root certificate, as agents must trust it. */
  get rootPem(): string {
    return this.#root.pem;
  }

  /**
   * A certificate for a normalised host name or IP address: at once when it was made before, else a promise, shared by
   * all who ask meanwhile.
   */
  leafFor(name: string): LeafContext | Promise<LeafContext> {
    const known = this.#leaves.get(name);
    if (known && known.renewAtMs > this.#clock.now()) {
      this.#leaves.delete(name);
      this.#leaves.set(name, known);
      return known.context;
    }
    const pending = this.#minting.get(name);
    if (pending) return pending;
    const minting = this.#mint(name).finally(() => this.#minting.delete(name));
    this.#minting.set(name, minting);
    return minting;
  }

  async #mint(name: string): Promise<LeafContext> {
    this.minted++;
    const nowMs = this.#clock.now();
    const names = this.#ownHost === undefined || this.#ownHost === name ? [name] : [name, this.#ownHost];
    const pem = await issueLeaf({ root: this.#root, publicKey: this.#keys.publicKey, names, nowMs });
    const context = createServerContext(pem, this.#keyPem);
    this.#leaves.set(name, { context, renewAtMs: nowMs + leafLifetimeMs - renewEarlyMs });
    for (const oldest of this.#leaves.keys()) {
      if (this.#leaves.size <= maxLeaves) break;
      this.#leaves.delete(oldest);
    }
    return context;
  }
}

function sealOwner(id: string): RecordKey {
  return ["authorities", id, "private_key_sealed"];
}

async function findRoot(database: Database, keyring: Keyring): Promise<Root | undefined> {
  const row = await database.db.selectFrom("authorities").selectAll().where("state", "=", "active").executeTakeFirst();
  if (!row) return undefined;
  const pkcs8 = await keyring.unseal(sealOwner(row.id), row.private_key_sealed);
  try {
    return await loadRoot(row.certificate_pem, pkcs8);
  } finally {
    pkcs8.fill(0);
  }
}

/** The unique index on the active authority decides who was first; the others take what the first one stored. */
async function establishRoot(database: Database, keyring: Keyring, clock: Clock): Promise<Root> {
  const fresh = await createRoot(clock.now());
  const id = uuidv7(clock.now());
  const pkcs8 = await exportPrivateKey(fresh.privateKey);
  const sealed = await keyring.seal(sealOwner(id), pkcs8);
  pkcs8.fill(0);
  try {
    await database.transaction(async (tx) => {
      await tx
        .insertInto("authorities")
        .values({
          id,
          certificate_pem: fresh.pem,
          private_key_sealed: sealed,
          state: "active",
          created_at: new Date(clock.now()).toISOString(),
        })
        .execute();
      const after = { fingerprint_sha256: fresh.fingerprint };
      const entry = { action: "authority.create", target: { type: "authority", id }, after } as const;
      await appendEntries(tx, clock.now(), [signed(server, entry)]);
    });
  } catch (error) {
    if (!database.isUniqueViolation(error)) throw error;
  }
  const root = await findRoot(database, keyring);
  if (!root) throw new Corrupt("no_authority", "The certificate authority was stored and is not there");
  return root;
}
