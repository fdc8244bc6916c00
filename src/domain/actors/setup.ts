/**
 * Who may become the first owner. On a server that others can reach, whoever comes first would own it; so there the
 * first registration takes a secret that only the server's own output shows.
 */
import { timingSafeEqual } from "node:crypto";
import type { Keyring } from "../../crypto/keyring.ts";
import { tokenDigest } from "../../crypto/token.ts";
import { Forbidden } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";

/** Hex digits that are shown: 128 bits. */
const length = 32;

export class Setup {
  readonly #database: Database;
  readonly #keyring: Keyring;
  readonly isGuarded: boolean;

  constructor(options: {
    readonly database: Database;
    readonly keyring: Keyring;
    /** False where only this machine reaches the server. */
    readonly isGuarded: boolean;
  }) {
    this.#database = options.database;
    this.#keyring = options.keyring;
    this.isGuarded = options.isGuarded;
  }

  secret(): Promise<string> {
    return setupSecretOf(this.#database, this.#keyring);
  }

  async accepts(given: string): Promise<boolean> {
    if (!this.isGuarded) return true;
    // Digests have one length, whatever was given.
    return timingSafeEqual(Buffer.from(tokenDigest(given)), Buffer.from(tokenDigest(await this.secret())));
  }

  /** @throws {Forbidden} `setup_secret_required` unless the secret is right, or none is asked for. */
  async require(given: string | undefined): Promise<void> {
    if (await this.accepts(given?.trim() ?? "")) return;
    throw new Forbidden(
      "setup_secret_required",
      "Others can reach this server, so its first account takes the setup secret that the server printed at its start",
      {
        hint: "open the setup link from the server's output, or give the secret to agent-vault auth register in AGENT_VAULT_SETUP_SECRET",
      },
    );
  }
}

/**
 * The same on every instance of one database, and worth nothing once there is an owner. Whoever can open the keys has it
 * without a server, too.
 */
export async function setupSecretOf(database: Database, keyring: Keyring): Promise<string> {
  const { instance_id: instance } = await database.db
    .selectFrom("instance")
    .select("instance_id")
    .executeTakeFirstOrThrow();
  return (await keyring.mac("first-owner", instance)).slice(0, length);
}
