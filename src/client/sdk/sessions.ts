/** Tokens for one vault, to be handed to an agent. */
import type { Client } from "../client.ts";
import { type ContainerConfig, noProxyHosts, proxyHostOf, proxyUrl } from "../proxy-env.ts";
import type { ScopedSession } from "../wire.ts";
import { type Camel, camel } from "./camel.ts";
import { ApiError } from "./errors.ts";

export interface CreateSessionOptions {
  /** 300 (5 minutes) to 604,800 (7 days); a day when absent. */
  readonly ttlSeconds?: number | undefined;
  /** `proxy` when absent: may send requests through the proxy, and ask for more by proposals. */
  readonly vaultRole?: "proxy" | "member" | "admin" | undefined;
  /** What the token is for, shown wherever it is listed. */
  readonly label?: string | undefined;
}

/** A token that was made just now; it cannot be shown again. */
export interface Session {
  readonly token: string;
  /** RFC 3339. */
  readonly expiresAt: string;
  /** Base URL of the server as agents know it. */
  readonly address: string;
  /** Null when the server runs without a proxy, or gives no certificate. */
  readonly containerConfig: ContainerConfig | null;
  /** For `revoke`; empty on servers that give none. */
  readonly id: string;
}

/** A token that exists, without its value. */
export type SessionInfo = Camel<ScopedSession>;

interface Proxy {
  readonly pem: string;
  readonly port: number;
}

export class Sessions {
  readonly #client: Client;
  readonly #vault: string;
  /** The same as long as the server lives. */
  #proxy: Promise<Proxy | undefined> | undefined;

  constructor(client: Client, vault: string) {
    this.#client = client;
    this.#vault = vault;
  }

  /** @throws {ApiError} `403` unless the caller is a member of the vault. */
  async create({ ttlSeconds, vaultRole, label }: CreateSessionOptions = {}): Promise<Session> {
    const body = { vault: this.#vault, ttl_seconds: ttlSeconds, vault_role: vaultRole, label };
    const [made, proxy] = await Promise.all([this.#client.createScopedSession(body), this.#findProxy()]);
    return {
      token: made.token,
      expiresAt: made.expires_at ?? "",
      address: made.av_addr || this.#client.address,
      containerConfig: proxy === undefined ? null : this.#containerConfig(made.token, proxy),
      id: made.id ?? "",
    };
  }

  /** Those that have not ended, newest first. */
  async list(): Promise<readonly SessionInfo[]> {
    const { sessions } = await this.#client.listScopedSessions(this.#vault);
    return camel(sessions ?? []);
  }

  /** What the token has open ends within about a second. */
  async revoke(id: string): Promise<void> {
    await this.#client.revokeScopedSession(this.#vault, id);
  }

  #containerConfig(token: string, { pem, port }: Proxy): ContainerConfig {
    const host = proxyHostOf(this.#client.address);
    const url = proxyUrl({ token, vault: this.#vault, host, port });
    return { env: { HTTPS_PROXY: url, HTTP_PROXY: url, NO_PROXY: noProxyHosts(host) }, caCertificate: pem };
  }

  #findProxy(): Promise<Proxy | undefined> {
    this.#proxy ??= this.#client.proxyAuthority().catch((error: unknown) => {
      this.#proxy = undefined; // the next call asks again
      // As the existing package: whatever the server answers instead of a certificate, there is no proxy to use.
      if (error instanceof ApiError) return undefined;
      throw error;
    });
    return this.#proxy;
  }
}
