/** The credentials of a vault. */
import type { Client } from "../client.ts";
import type { CredentialEntry, CredentialVersion } from "../wire.ts";
import { type Camel, camel } from "./camel.ts";

export type Credential = Camel<CredentialEntry>;

export interface ListCredentialsOptions {
  /** With the values; needs a member of the vault. */
  readonly reveal?: boolean | undefined;
  /** One alone; only together with `reveal`. */
  readonly key?: string | undefined;
}

export interface ListCredentialsResult {
  readonly keys: readonly string[];
  /** Absent for those who may see the keys alone. */
  readonly credentials?: readonly Credential[];
}

export class Credentials {
  readonly #client: Client;
  readonly #vault: string | undefined;

  /** @param vault undefined: the one that the token is for. */
  constructor(client: Client, vault: string | undefined) {
    this.#client = client;
    this.#vault = vault;
  }

  async list({ reveal, key }: ListCredentialsOptions = {}): Promise<ListCredentialsResult> {
    const options = { ...(reveal === undefined ? {} : { reveal }), ...(key === undefined ? {} : { key }) };
    const { keys, credentials } = await this.#client.listCredentials(this.#vault, options);
    return { keys: keys ?? [], ...(credentials ? { credentials: camel(credentials) } : {}) };
  }

  /** One value. @throws {ApiError} 404 when there is none of that key. */
  async get(key: string): Promise<string> {
    const { credentials } = await this.list({ reveal: true, key });
    return credentials?.find((credential) => credential.key === key)?.value ?? "";
  }

  /** Writes values by their keys; all or none. */
  async set(values: Readonly<Record<string, string>>): Promise<{ readonly set: readonly string[] }> {
    return await this.#client.setCredentials(this.#vault, values);
  }

  /** All or none. */
  async delete(keys: readonly string[]): Promise<{ readonly deleted: readonly string[] }> {
    return await this.#client.deleteCredentials(this.#vault, keys);
  }

  /** The values that a credential had, newest first, without the values themselves. */
  async versions(key: string): Promise<readonly Camel<CredentialVersion>[]> {
    const { versions } = await this.#client.credentialVersions(this.#vault, key);
    return camel(versions);
  }

  /** Makes an earlier value the current one. @returns its new number. */
  async restore(key: string, version: number): Promise<number> {
    return (await this.#client.restoreCredential(this.#vault, key, version)).version;
  }
}
