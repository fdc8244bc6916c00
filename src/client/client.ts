/** A typed client of the management API: one method per operation. Usable on its own, in a browser too. */
import { NotFound } from "../errors.ts";
import { path, Transport, type TransportOptions } from "./transport.ts";
import type * as wire from "./wire.ts";

/** The proxy's root certificate (PEM) and port. */
export interface ProxyAuthority {
  readonly pem: string;
  readonly port: number;
}

/** Every method throws the `AppError` of the server's answer; see `Transport`. */
export class Client {
  readonly #transport: Transport;

  constructor(options: TransportOptions) {
    this.#transport = new Transport(options);
  }

  get address(): string {
    return this.#transport.address;
  }

  health = () => this.#get<{ status: string }>("/health");
  status = () => this.#get<wire.Status>("/v1/status");
  catalog = () => this.#get<{ services: readonly wire.Template[] }>("/v1/service-catalog");

  /** Undefined when the server runs without a proxy. A server that names no port listens on 14322. */
  async proxyAuthority(): Promise<ProxyAuthority | undefined> {
    try {
      const { text, headers } = await this.#transport.send("GET", "/v1/mitm/ca.pem", { headers: { accept: "*/*" } });
      return { pem: text, port: Number(headers.get("x-mitm-port")) || 14322 };
    } catch (error) {
      if (error instanceof NotFound) return undefined;
      throw error;
    }
  }

  register = (body: { email: string; password: string; device_label?: string }) =>
    this.#post<wire.Registered>("/v1/auth/register", body);
  verify = (body: { email: string; code: string; device_label?: string }) =>
    this.#post<{ token?: string; message?: string }>("/v1/auth/verify", body);
  login = (body: { email: string; password: string; device_label?: string }) =>
    this.#post<wire.IssuedToken>("/v1/auth/login", body);
  logout = () => this.#post<{ status: string }>("/v1/auth/logout");
  changePassword = (body: { current_password: string; new_password: string }) =>
    this.#post<wire.IssuedToken>("/v1/auth/change-password", body);
  deleteAccount = () => this.#delete<{ email: string }>("/v1/auth/account");
  listLogins = () => this.#get<{ sessions: readonly wire.LoginSession[] | null }>("/v1/auth/sessions");
  revokeLogin = (id: string) => this.#delete<{ status: string; current: boolean }>(path`/v1/auth/sessions/${id}`);

  /** `me` is the caller. */
  profile = (email = "me") => this.#get<wire.Profile>(path`/v1/admin/users/${email}`);
  listUsers = () => this.#get<{ users: readonly wire.User[] | null }>("/v1/users");
  removeUser = (email: string) => this.#delete(path`/v1/admin/users/${email}`);
  setUserRole = (email: string, role: string) => this.#post(path`/v1/admin/users/${email}/role`, { role });
  inviteUser = (body: { email: string; role?: string; vaults?: readonly wire.VaultGrant[] }) =>
    this.#post<wire.CreatedInvite>("/v1/users/invites", body);
  listInvites = (status?: string) =>
    this.#transport.json<{ invites: readonly wire.Invite[] | null }>("GET", "/v1/users/invites", { query: { status } });
  revokeInvite = (token: string) => this.#delete(path`/v1/users/invites/${token}`);

  createAgent = (body: { name: string; role?: string; vaults?: readonly wire.VaultGrant[] }) =>
    this.#post<wire.AgentToken>("/v1/agents", body);
  listAgents = () => this.#get<{ agents: readonly wire.Agent[] | null }>("/v1/agents");
  agent = (name: string) => this.#get<wire.Agent>(path`/v1/agents/${name}`);
  revokeAgent = (name: string) => this.#delete(path`/v1/agents/${name}`);
  deleteAgent = (name: string) => this.#post(path`/v1/agents/${name}/delete`);
  rotateAgent = (name: string) => this.#post<wire.AgentToken>(path`/v1/agents/${name}/rotate`);
  renameAgent = (name: string, to: string) => this.#post(path`/v1/agents/${name}/rename`, { name: to });
  setAgentRole = (name: string, role: string) => this.#post(path`/v1/agents/${name}/role`, { role });

  createVault = (body: { name: string; credential_store?: unknown }) => this.#post<wire.Vault>("/v1/vaults", body);
  listVaults = () => this.#get<{ vaults: readonly wire.Vault[] | null }>("/v1/vaults");
  listAllVaults = () =>
    this.#get<{ vaults: readonly { id: string; name: string; created_at: string }[] | null }>("/v1/admin/vaults");
  deleteVault = (name: string) => this.#delete<{ name: string; deleted: boolean }>(path`/v1/vaults/${name}`);
  renameVault = (name: string, to: string) => this.#post(path`/v1/vaults/${name}/rename`, { name: to });
  joinVault = (name: string) => this.#post(path`/v1/vaults/${name}/join`);

  listVaultUsers = (vault: string) =>
    this.#get<{ users: readonly wire.VaultUser[] | null }>(path`/v1/vaults/${vault}/users`);
  addVaultUser = (vault: string, body: { email: string; role: string }) =>
    this.#post(path`/v1/vaults/${vault}/users`, body);
  removeVaultUser = (vault: string, email: string) => this.#delete(path`/v1/vaults/${vault}/users/${email}`);
  setVaultUserRole = (vault: string, email: string, role: string) =>
    this.#post(path`/v1/vaults/${vault}/users/${email}/role`, { role });
  listVaultAgents = (vault: string) =>
    this.#get<{ agents: readonly wire.VaultAgent[] | null }>(path`/v1/vaults/${vault}/agents`);
  addVaultAgent = (vault: string, body: { name: string; role: string }) =>
    this.#post(path`/v1/vaults/${vault}/agents`, body);
  removeVaultAgent = (vault: string, name: string) => this.#delete(path`/v1/vaults/${vault}/agents/${name}`);
  setVaultAgentRole = (vault: string, name: string, role: string) =>
    this.#post(path`/v1/vaults/${vault}/agents/${name}/role`, { role });

  listServices = (vault: string) =>
    this.#get<{ vault: string; services: readonly wire.WireService[] | null }>(path`/v1/vaults/${vault}/services`);
  /** Adds services or replaces those of the same name. */
  upsertServices = (vault: string, services: readonly unknown[]) =>
    this.#post<{ upserted: readonly string[]; services_count: number }>(path`/v1/vaults/${vault}/services`, {
      services,
    });
  replaceServices = (vault: string, services: readonly unknown[]) =>
    this.#transport.json<{ services_count: number }>("PUT", path`/v1/vaults/${vault}/services`, { body: { services } });
  /** `service` is a name, or a host that only one service has. */
  switchService = (vault: string, service: string, enabled: boolean) =>
    this.#transport.json<{ name: string; host: string; enabled: boolean }>(
      "PATCH",
      path`/v1/vaults/${vault}/services/${service}`,
      { body: { enabled } },
    );
  removeService = (vault: string, service: string) =>
    this.#delete<{ removed: string; removed_host?: string; services_count: number }>(
      path`/v1/vaults/${vault}/services/${service}`,
    );
  clearServices = (vault: string) => this.#delete(path`/v1/vaults/${vault}/services`);

  /** Values only with `reveal`; one key with `key`, which needs `reveal`. */
  listCredentials = (vault: string, { reveal = false, key }: { reveal?: boolean; key?: string } = {}) =>
    this.#transport.json<wire.CredentialList>("GET", "/v1/credentials", {
      query: { vault, reveal: reveal ? "true" : undefined, key },
    });
  setCredentials = (vault: string, credentials: Readonly<Record<string, string>>) =>
    this.#post<{ set: readonly string[] }>("/v1/credentials", { vault, credentials });
  deleteCredentials = (vault: string, keys: readonly string[]) =>
    this.#transport.json<{ deleted: readonly string[] }>("DELETE", "/v1/credentials", { body: { vault, keys } });

  /** Which services use a credential. */
  credentialUsage = (vault: string, key: string) =>
    this.#transport.json<{ services: readonly { name: string; host: string }[] | null }>(
      "GET",
      path`/v1/vaults/${vault}/services/credential-usage`,
      { query: { key } },
    );

  /** A token for one vault. `ttl_seconds` is 300 to 604800; a day when absent. */
  createScopedSession = (body: { vault: string; ttl_seconds?: number; vault_role?: string; label?: string }) =>
    this.#post<wire.IssuedToken & { readonly id: string }>("/v1/sessions", body);
  listScopedSessions = (vault: string) =>
    this.#transport.json<{ sessions: readonly wire.ScopedSession[] | null }>("GET", "/v1/sessions", {
      query: { vault },
    });
  revokeScopedSession = (vault: string, id: string) =>
    this.#transport.json<{ status: string }>("DELETE", path`/v1/sessions/${id}`, { query: { vault } });
  discover = (vault: string) =>
    this.#transport.json<wire.Discovery>("GET", "/discover", { headers: { "x-vault": vault } });

  settings = () => this.#get<wire.InstanceSettings>("/v1/admin/settings");
  changeSettings = (body: { invite_only?: boolean; allowed_email_domains?: readonly string[] }) =>
    this.#transport.json<wire.InstanceSettings>("PUT", "/v1/admin/settings", { body });
  testEmail = (to?: string) =>
    this.#post<{ message: string; to?: string }>("/v1/admin/email/test", to === undefined ? {} : { to });

  /** Newest first: everything for owners, or what happened in one vault. `filter` has the names of the API. */
  listAudit = (vault: string | undefined, filter: Readonly<Record<string, string | undefined>>) =>
    this.#transport.json<wire.AuditPage>("GET", vault ? path`/v1/vaults/${vault}/audit` : "/v1/audit", {
      query: filter,
    });
  /** Lines of JSON: the log grows for ever, so this may take minutes. */
  exportAudit = async () => {
    const limits = { headers: { accept: "application/x-ndjson" }, timeoutMs: 10 * 60_000 };
    return (await this.#transport.send("GET", "/v1/audit/export", limits)).text;
  };
  auditKey = () => this.#get<{ id: string; algorithm: string; public_key_pem: string }>("/v1/audit/key");
  listCheckpoints = (query: Readonly<Record<string, string | undefined>>) =>
    this.#transport.json<wire.CheckpointPage>("GET", "/v1/audit/checkpoints", { query });

  #get<T>(target: string): Promise<T> {
    return this.#transport.json<T>("GET", target);
  }

  #post<T = { message?: string }>(target: string, body: unknown = {}): Promise<T> {
    return this.#transport.json<T>("POST", target, { body });
  }

  #delete<T = { message?: string }>(target: string): Promise<T> {
    return this.#transport.json<T>("DELETE", target);
  }
}
