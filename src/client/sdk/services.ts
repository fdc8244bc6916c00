/** The services of a vault: where its agents may send requests, and which credentials go with them. */
import type { Client } from "../client.ts";

export interface BearerAuth {
  readonly type: "bearer";
  /** Key of a credential, as everywhere below; never its value. */
  readonly token: string;
}

export interface BasicAuth {
  readonly type: "basic";
  readonly username: string;
  /** The empty password when absent. */
  readonly password?: string | undefined;
}

export interface ApiKeyAuth {
  readonly type: "api-key";
  readonly key: string;
  /** `Authorization` when absent. */
  readonly header?: string | undefined;
  /** Text before the value, as it stands. */
  readonly prefix?: string | undefined;
}

export interface CustomAuth {
  readonly type: "custom";
  /** Templates such as `Token {{ API_KEY }}`, by header. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The host may be reached; nothing is added to requests. */
export interface PassthroughAuth {
  readonly type: "passthrough";
}

export type ServiceAuth = BearerAuth | BasicAuth | ApiKeyAuth | CustomAuth | PassthroughAuth;

export type SubstitutionSurface = "path" | "query" | "header" | "body" | "websocket";

/** A text in requests that is replaced by the value of a credential. */
export interface Substitution {
  readonly key: string;
  readonly placeholder: string;
  /** `path` and `query` when absent. */
  readonly in?: readonly SubstitutionSurface[] | undefined;
}

export interface ServiceInput {
  /** Unique in the vault: 3 to 64 lower-case letters, digits and hyphens. May be left out to change a service by its host. */
  readonly name?: string | undefined;
  /** `api.stripe.com`, `*.github.com`, `slack.com/api/*`, `api.example.com:8443`. */
  readonly host: string;
  /** Another way to give the path; not with one in `host`. */
  readonly path?: string | undefined;
  readonly enabled?: boolean | undefined;
  readonly auth: ServiceAuth;
  readonly substitutions?: readonly Substitution[] | undefined;
  /** Where credentials may be sent; `https` alone when absent. */
  readonly schemes?: readonly ("https" | "http")[] | undefined;
  readonly methods?: readonly string[] | undefined;
  /** What happens to answers that hold an injected value. */
  readonly scrub?: "off" | "detect" | "redact" | "block" | undefined;
  readonly strip_headers?: readonly string[] | undefined;
  readonly set_cookie?: "strip" | "pass" | undefined;
}

/** As the server has it: `host` joined with port and path, and always a name. */
export interface Service extends ServiceInput {
  readonly name: string;
}

export interface ListServicesResult {
  readonly vault: string;
  readonly services: readonly Service[];
}

export interface SetServicesResult {
  readonly vault: string;
  readonly upserted: readonly string[];
  readonly servicesCount: number;
}

export interface ReplaceAllServicesResult {
  readonly vault: string;
  readonly servicesCount: number;
}

export interface ClearServicesResult {
  readonly vault: string;
  readonly cleared: boolean;
}

export interface RemoveServiceResult {
  readonly vault: string;
  readonly removed: string;
  readonly removedHost?: string;
  readonly servicesCount: number;
}

export interface CredentialUsageResult {
  readonly services: readonly { readonly name: string; readonly host: string }[];
}

export class Services {
  readonly #client: Client;
  readonly #vault: string;

  constructor(client: Client, vault: string) {
    this.#client = client;
    this.#vault = vault;
  }

  async list(): Promise<ListServicesResult> {
    const { vault, services } = await this.#client.listServices(this.#vault);
    // The server keeps what it accepted, in the form that it accepts.
    return { vault, services: (services ?? []) as readonly Service[] };
  }

  /** Adds services or replaces those of the same name; all or none. Needs an administrator of the vault. */
  async set(services: readonly ServiceInput[]): Promise<SetServicesResult> {
    const { vault, upserted, services_count } = await this.#client.upsertServices(this.#vault, services);
    return { vault, upserted, servicesCount: services_count };
  }

  /** Puts these in the place of all that are there. */
  async replaceAll(services: readonly ServiceInput[]): Promise<ReplaceAllServicesResult> {
    const { vault, services_count } = await this.#client.replaceServices(this.#vault, services);
    return { vault, servicesCount: services_count };
  }

  /** @throws {ApiError} 409 with `details.candidates` when several services have the host. */
  async remove(host: string): Promise<RemoveServiceResult> {
    const { vault, removed, removed_host, services_count } = await this.#client.removeService(this.#vault, host);
    const removedHost = removed_host === undefined ? {} : { removedHost: removed_host };
    return { vault, removed, ...removedHost, servicesCount: services_count };
  }

  async removeByName(name: string): Promise<RemoveServiceResult> {
    return await this.remove(name);
  }

  async clear(): Promise<ClearServicesResult> {
    return await this.#client.clearServices(this.#vault);
  }

  /** A service that is switched off refuses requests; it does not let them pass. @param ref a name, or a host that one service has. */
  async setEnabled(ref: string, enabled: boolean): Promise<{ name: string; host: string; enabled: boolean }> {
    return await this.#client.switchService(this.#vault, ref, enabled);
  }

  /** Which services use a credential. */
  async credentialUsage(key: string): Promise<CredentialUsageResult> {
    const { services } = await this.#client.credentialUsage(this.#vault, key);
    return { services: services ?? [] };
  }
}
