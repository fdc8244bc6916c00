/** A typed client of the management API: one method per operation. Usable on its own, in a browser too. */
import { readAllPages } from "./all-pages.ts";
import { readEvents } from "./event-stream.ts";
import { statusOf } from "./failures.ts";
import { path, Transport, type TransportOptions } from "./transport.ts";
import type * as wire from "./wire.ts";

/** The proxy's root certificate (PEM), and how it is reached. */
export interface ProxyAuthority {
  readonly pem: string;
  readonly port: number;
  /** `unix`: on a socket of the server's machine alone, and the port says nothing. */
  readonly scheme: "http" | "https" | "unix";
}

/** Undefined: the one that the token is for, else `default`. */
type Vault = string | undefined;

/** Every method throws the error of the server's answer, an `AppError` unless `failures` is given; see `Transport`. */
export class Client {
  readonly #transport: Transport;
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#transport = new Transport(options);
  }

  get address(): string {
    return this.#transport.address;
  }

  /** The same server with another token. */
  withToken(token: string): Client {
    return new Client({ ...this.#options, token });
  }

  /** The same server, with headers that go with every request. */
  withHeaders(headers: Readonly<Record<string, string>>): Client {
    return new Client({ ...this.#options, headers: { ...this.#options.headers, ...headers } });
  }

  health = () => this.#get<{ status: string }>("/health");
  status = () => this.#get<wire.Status>("/v1/status");
  /** Told to whoever has a token. */
  version = () => this.#get<{ version: string; commit: string }>("/v1/instance/version");
  catalog = () => this.#get<{ services: readonly wire.Template[] }>("/v1/service-catalog");

  /** Undefined when the server runs without a proxy. A server that names no port listens on 14322. */
  async proxyAuthority(): Promise<ProxyAuthority | undefined> {
    try {
      const { text, headers } = await this.#transport.send("GET", "/v1/mitm/ca.pem", { headers: { accept: "*/*" } });
      const named = headers.get("x-mitm-scheme");
      const scheme = named === "https" || named === "unix" ? named : "http";
      return { pem: text, port: Number(headers.get("x-mitm-port")) || 14322, scheme };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  roots = () => this.#get<wire.Roots>("/v1/admin/ca");
  /** @param overlapSeconds 0: nothing goes on by itself. */
  startRotation = (overlapSeconds: number) =>
    this.#post<wire.Roots>("/v1/admin/ca/rotation", { overlap_seconds: overlapSeconds });
  goOnRotating = (step: "activate" | "finish") => this.#post<wire.Roots>(path`/v1/admin/ca/rotation/${step}`);
  cancelRotation = () => this.#delete<wire.Roots>("/v1/admin/ca/rotation");

  register = (body: { email: string; password: string; device_label?: string; setup_secret?: string }) =>
    this.#post<wire.Registered>("/v1/auth/register", body);
  verify = (body: { email: string; code: string; device_label?: string }) =>
    this.#post<{ token?: string; message?: string }>("/v1/auth/verify", body);
  forgotPassword = (body: { email: string }) =>
    this.#post<{ message?: string; email_sent: boolean }>("/v1/auth/forgot-password", body);
  resetPassword = (body: { email: string; code: string; new_password: string; device_label?: string }) =>
    this.#post<{ message?: string; authenticated: boolean }>("/v1/auth/reset-password", body);
  resendVerification = (body: { email: string }) =>
    this.#post<{ message?: string; email_sent: boolean }>("/v1/auth/resend-verification", body);
  login = (body: { email: string; password: string; device_label?: string }) =>
    this.#post<wire.IssuedToken>("/v1/auth/login", body);
  logout = () => this.#post<{ status: string }>("/v1/auth/logout");
  changePassword = (body: { current_password: string; new_password: string }) =>
    this.#post<wire.IssuedToken>("/v1/auth/change-password", body);
  deleteAccount = () => this.#delete<{ email: string }>("/v1/auth/account");
  listLogins = () => this.#all<{ sessions: readonly wire.LoginSession[] | null }>("/v1/auth/sessions", ["sessions"]);
  revokeLogin = (id: string) => this.#delete<{ status: string; current: boolean }>(path`/v1/auth/sessions/${id}`);

  /** `me` is the caller. */
  profile = (email = "me") => this.#get<wire.Profile>(path`/v1/admin/users/${email}`);
  listUsers = () => this.#all<{ users: readonly wire.User[] | null }>("/v1/users", ["users"]);
  /** `agents` are those that the person created; they go on. */
  removeUser = (email: string) =>
    this.#delete<{ email: string; agents?: readonly string[] }>(path`/v1/admin/users/${email}`);
  setUserRole = (email: string, role: string) => this.#post(path`/v1/admin/users/${email}/role`, { role });
  inviteUser = (body: { email: string; role?: string; vaults?: readonly wire.VaultGrant[] }) =>
    this.#post<wire.CreatedInvite>("/v1/users/invites", body);
  listInvites = (status?: string) =>
    this.#all<{ invites: readonly wire.Invite[] | null }>("/v1/users/invites", ["invites"], { status });
  /** By the token, the end of it, or the id. */
  revokeInvite = (token: string) => this.#delete(path`/v1/users/invites/${token}`);
  resendInvite = (token: string) => this.#post<wire.CreatedInvite>(path`/v1/users/invites/${token}/reinvite`);

  /** `rotate` invites an agent that exists to a new token. */
  inviteAgent = (body: {
    name?: string;
    role?: string;
    vaults?: readonly wire.VaultGrant[];
    ttl_seconds?: number;
    rotate?: boolean;
  }) => this.#post<wire.CreatedAgentInvite>("/v1/agent-invites", body);
  listAgentInvites = (status?: string) =>
    this.#all<{ invites: readonly wire.AgentInvite[] | null }>("/v1/agent-invites", ["invites"], { status });
  /** By the token, the end of it, or the id. */
  revokeAgentInvite = (token: string) => this.#delete(path`/v1/agent-invites/${token}`);

  createAgent = (body: { name: string; role?: string; vaults?: readonly wire.VaultGrant[] }) =>
    this.#post<wire.AgentToken>("/v1/agents", body);
  listAgents = () => this.#all<{ agents: readonly wire.Agent[] | null }>("/v1/agents", ["agents"]);
  agent = (name: string) => this.#get<wire.Agent>(path`/v1/agents/${name}`);
  revokeAgent = (name: string) => this.#delete(path`/v1/agents/${name}`);
  deleteAgent = (name: string) => this.#post(path`/v1/agents/${name}/delete`);
  rotateAgent = (name: string) => this.#post<wire.AgentToken>(path`/v1/agents/${name}/rotate`);
  renameAgent = (name: string, to: string) => this.#post(path`/v1/agents/${name}/rename`, { name: to });
  setAgentRole = (name: string, role: string) => this.#post(path`/v1/agents/${name}/role`, { role });

  createVault = (body: { name: string; credential_store?: unknown }) => this.#post<wire.Vault>("/v1/vaults", body);
  listVaults = () => this.#all<{ vaults: readonly wire.Vault[] | null }>("/v1/vaults", ["vaults"]);
  listAllVaults = () =>
    this.#all<{ vaults: readonly { id: string; name: string; created_at: string }[] | null }>("/v1/admin/vaults", [
      "vaults",
    ]);
  deleteVault = (name: string) => this.#delete<{ name: string; deleted: boolean }>(path`/v1/vaults/${name}`);
  renameVault = (name: string, to: string) => this.#post(path`/v1/vaults/${name}/rename`, { name: to });
  /** The caller's role in a vault, and where its credentials are kept. */
  vaultContext = (name: string) => this.#get<wire.VaultContext>(path`/v1/vaults/${name}/context`);
  vaultSettings = (name: string) => this.#get<wire.VaultSettings>(path`/v1/vaults/${name}/settings`);
  changeVaultSettings = (name: string, body: Readonly<Record<string, string>>) =>
    this.#transport.json<wire.VaultSettings>("PATCH", path`/v1/vaults/${name}/settings`, { body });
  setCredentialStore = (name: string, body: unknown) =>
    this.#transport.json<{ credential_store?: wire.CredentialStore }>(
      "PATCH",
      path`/v1/vaults/${name}/credential-store`,
      { body },
    );
  syncCredentialStore = (name: string) =>
    this.#post<{ credential_store?: wire.CredentialStore }>(path`/v1/vaults/${name}/sync`);
  joinVault = (name: string) => this.#post(path`/v1/vaults/${name}/join`);

  listVaultUsers = (vault: string) =>
    this.#all<{ users: readonly wire.VaultUser[] | null }>(path`/v1/vaults/${vault}/users`, ["users"]);
  addVaultUser = (vault: string, body: { email: string; role: string }) =>
    this.#post(path`/v1/vaults/${vault}/users`, body);
  removeVaultUser = (vault: string, email: string) => this.#delete(path`/v1/vaults/${vault}/users/${email}`);
  setVaultUserRole = (vault: string, email: string, role: string) =>
    this.#post(path`/v1/vaults/${vault}/users/${email}/role`, { role });
  listVaultAgents = (vault: string) =>
    this.#all<{ agents: readonly wire.VaultAgent[] | null }>(path`/v1/vaults/${vault}/agents`, ["agents"]);
  addVaultAgent = (vault: string, body: { name: string; role: string }) =>
    this.#post(path`/v1/vaults/${vault}/agents`, body);
  removeVaultAgent = (vault: string, name: string) => this.#delete(path`/v1/vaults/${vault}/agents/${name}`);
  setVaultAgentRole = (vault: string, name: string, role: string) =>
    this.#post(path`/v1/vaults/${vault}/agents/${name}/role`, { role });

  listServices = (vault: string) =>
    this.#all<{ vault: string; services: readonly wire.WireService[] | null }>(path`/v1/vaults/${vault}/services`, [
      "services",
    ]);
  /** With the tag of this state of the list, for `replaceServices`; a server of another make gives none. */
  listTaggedServices = async (vault: string) => {
    const { text, headers } = await this.#transport.send("GET", path`/v1/vaults/${vault}/services`);
    const { services } = JSON.parse(text) as { services: readonly wire.WireService[] | null };
    return { services: services ?? [], tag: headers.get("etag") ?? undefined };
  };
  /** Adds services or replaces those of the same name. */
  upsertServices = (vault: string, services: readonly unknown[]) =>
    this.#post<{ vault: string; upserted: readonly string[]; services_count: number }>(
      path`/v1/vaults/${vault}/services`,
      {
        services,
      },
    );
  /** @param tag of the list that may be replaced; whatever is there when absent. */
  replaceServices = (vault: string, services: readonly unknown[], tag?: string) =>
    this.#transport.json<{ vault: string; services_count: number }>("PUT", path`/v1/vaults/${vault}/services`, {
      body: { services },
      ...(tag === undefined ? {} : { headers: { "if-match": tag } }),
    });
  /** `service` is a name, or a host that only one service has. */
  switchService = (vault: string, service: string, enabled: boolean) =>
    this.#transport.json<{ name: string; host: string; enabled: boolean }>(
      "PATCH",
      path`/v1/vaults/${vault}/services/${service}`,
      { body: { enabled } },
    );
  removeService = (vault: string, service: string) =>
    this.#delete<{ vault: string; removed: string; removed_host?: string; services_count: number }>(
      path`/v1/vaults/${vault}/services/${service}`,
    );
  clearServices = (vault: string) =>
    this.#delete<{ vault: string; cleared: boolean }>(path`/v1/vaults/${vault}/services`);

  /** Values only with `reveal`; one key with `key`, which needs `reveal`. */
  listCredentials = (vault: Vault, { reveal = false, key }: { reveal?: boolean; key?: string } = {}) =>
    this.#all<wire.CredentialList>("/v1/credentials", ["keys", "credentials"], {
      vault,
      reveal: reveal ? "true" : undefined,
      key,
    });
  setCredentials = (
    vault: Vault,
    credentials: Readonly<Record<string, string>>,
    details?: Readonly<Record<string, wire.CredentialDetails>>,
  ) => this.#post<{ set: readonly string[] }>("/v1/credentials", { vault, credentials, details });
  /** Empty texts remove what was noted. */
  annotateCredential = (vault: Vault, key: string, details: wire.CredentialDetails) =>
    this.#transport.json<wire.CredentialEntry>("PATCH", path`/v1/credentials/${key}`, { body: { vault, ...details } });
  credentialVersions = (vault: Vault, key: string) =>
    this.#transport.json<{ key: string; versions: readonly wire.CredentialVersion[] }>(
      "GET",
      path`/v1/credentials/${key}/versions`,
      { query: { vault } },
    );
  /** Makes an earlier value the current one; `version` of the answer is its new number. */
  restoreCredential = (vault: Vault, key: string, version: number) =>
    this.#post<{ key: string; restored: number; version: number }>(path`/v1/credentials/${key}/restore`, {
      vault,
      version,
    });
  deleteCredentials = (vault: Vault, keys: readonly string[]) =>
    this.#transport.json<{ deleted: readonly string[] }>("DELETE", "/v1/credentials", { body: { vault, keys } });

  listOAuthProviders = () => this.#get<{ providers: readonly wire.OAuthProvider[] }>("/v1/oauth/providers");
  /** @returns where a person goes to consent. */
  connectOAuth = (body: wire.OAuthConnect) =>
    this.#post<{ authorization_url: string }>("/v1/credentials/oauth/connect", body);
  /** `code` is what the page showed after the consent. */
  confirmOAuth = (body: { vault: string; key: string; code: string }) =>
    this.#post<wire.OAuthStatus>("/v1/credentials/oauth/confirm", body);
  oauthStatus = (vault: string, key: string) =>
    this.#transport.json<wire.OAuthStatus>("GET", "/v1/credentials/oauth/status", { query: { vault, key } });
  /** A refresh token is tried at once, so this may take as long as the provider takes. */
  uploadOAuthTokens = (body: wire.OAuthTokens) =>
    this.#post<{ connected: boolean; connected_at: string }>("/v1/credentials/oauth/tokens", body);
  disconnectOAuth = (vault: string, key: string) =>
    this.#post<{ connected: boolean }>("/v1/credentials/oauth/disconnect", { vault, key });

  /** Which services use a credential. */
  credentialUsage = (vault: string, key: string) =>
    this.#all<{ services: readonly { name: string; host: string }[] | null }>(
      path`/v1/vaults/${vault}/services/credential-usage`,
      ["services"],
      { key },
    );

  /** A token for one vault. `ttl_seconds` is 300 to 604800; a day when absent. */
  createScopedSession = (body: wire.ScopedSessionRequest) =>
    this.#post<wire.IssuedToken & { readonly id: string }>("/v1/sessions", body);
  listScopedSessions = (vault: string) =>
    this.#all<{ sessions: readonly wire.ScopedSession[] | null }>("/v1/sessions", ["sessions"], { vault });
  revokeScopedSession = (vault: string, id: string) =>
    this.#transport.json<{ status: string }>("DELETE", path`/v1/sessions/${id}`, { query: { vault } });
  discover = (vault: Vault) => this.#transport.json<wire.Discovery>("GET", "/discover", inVault(vault));

  /** Hosts that agents called and no service covers, the last seen first; at most 100. */
  discoveredHosts = (vault: string, limit: number) =>
    this.#transport.json<{ hosts: readonly wire.DiscoveredHost[]; total: number }>(
      "GET",
      path`/v1/vaults/${vault}/discovered-hosts`,
      { query: { limit: limit.toString() } },
    );

  /** One page of the request log, newest first; at most 200 rows. */
  listLogs = (vault: string, { limit, before, ...filter }: wire.LogFilter & { limit?: number; before?: number } = {}) =>
    this.#transport.json<wire.LogPage>("GET", path`/v1/vaults/${vault}/logs`, {
      query: { ...filter, limit: limit?.toString(), before: before?.toString() },
    });

  /**
   * Rows as they are written, from behind the row `after` on; an undefined row says that the connection was lost and is
   * being made again, behind the last row. Ends by an error only.
   * @throws {AppError} when the server refuses, such as after the grant has ended.
   */
  async *followLogs(
    vault: string,
    filter: wire.LogFilter,
    after: number,
  ): AsyncGenerator<wire.LogRow | undefined, never> {
    let position = String(after);
    for (let failures = 0; ; failures++) {
      if (failures > 0) {
        yield undefined;
        await new Promise((resolve) => setTimeout(resolve, Math.min(1_000 * 2 ** (failures - 1), 15_000)));
      }
      const headers = { accept: "text/event-stream", ...(position !== "0" && { "last-event-id": position }) };
      const pieces = this.#transport.stream(path`/v1/vaults/${vault}/logs/tail`, { query: { ...filter }, headers });
      try {
        for await (const { event, id, data } of readEvents(pieces)) {
          failures = 0;
          if (event === "log" && data !== "") yield JSON.parse(data) as wire.LogRow;
          // Only then: whoever breaks off in between gets the row again rather than never.
          if (id !== "") position = id;
        }
      } catch (error) {
        const status = statusOf(error);
        if (status !== undefined && status !== 503) throw error;
      }
    }
  }

  /** The request log as text, the oldest first, piece by piece. */
  exportLogs = (vault: string, format: "ndjson" | "csv", filter: wire.LogFilter) =>
    this.#transport.stream(path`/v1/vaults/${vault}/logs/export`, {
      query: { ...filter, format },
      headers: { accept: "*/*" },
    });
  /** With the token of an agent or of the vault. @param body as the API has it: `services`, `credentials`, `message`, … */
  createProposal = (vault: Vault, body: unknown) =>
    this.#transport.json<wire.CreatedProposal>("POST", "/v1/proposals", { body, ...inVault(vault) });
  /** As the agent that follows what it asked for. */
  listOwnProposals = (vault: Vault, query: wire.ProposalFilter = {}) =>
    this.#transport.json<wire.ProposalList>("GET", "/v1/proposals", {
      query: { ...query },
      ...inVault(vault),
    });
  /** With `waitSeconds`, answers once somebody has decided, or after that time. */
  ownProposal = (vault: Vault, number: string, waitSeconds?: number) =>
    this.#transport.json<wire.Proposal>("GET", path`/v1/proposals/${number}`, {
      ...inVault(vault),
      ...waiting(waitSeconds),
    });
  listProposals = (vault: Vault, query: wire.ProposalFilter = {}) =>
    this.#transport.json<wire.ProposalList>("GET", "/v1/admin/proposals", { query: { vault, ...query } });
  proposal = (vault: Vault, number: string, waitSeconds?: number) => {
    const { query, ...options } = waiting(waitSeconds);
    return this.#transport.json<wire.Proposal>("GET", path`/v1/admin/proposals/${number}`, {
      query: { vault, ...query },
      ...options,
    });
  };
  approveProposal = (vault: Vault, number: string, approval: wire.ProposalApproval) =>
    this.#post<wire.DecidedProposal>(path`/v1/admin/proposals/${number}/approve`, { vault, ...approval });
  rejectProposal = (vault: Vault, number: string, reason: string) =>
    this.#post<wire.DecidedProposal>(path`/v1/admin/proposals/${number}/reject`, { vault, reason });
  proposalWebhook = (vault: string) => this.#get<wire.ProposalWebhook>(path`/v1/vaults/${vault}/proposal-webhook`);
  setProposalWebhook = (vault: string, url: string) =>
    this.#transport.json<wire.ProposalWebhook>("PUT", path`/v1/vaults/${vault}/proposal-webhook`, { body: { url } });
  deleteProposalWebhook = (vault: string) => this.#delete(path`/v1/vaults/${vault}/proposal-webhook`);

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

  #all<T extends object>(
    target: string,
    fields: readonly (keyof T & string)[],
    query: Readonly<Record<string, string | undefined>> = {},
  ): Promise<T> {
    return readAllPages<T>((page) => this.#transport.json("GET", target, { query: { ...query, ...page } }), fields);
  }

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

function inVault(vault: Vault): { headers?: { "x-vault": string } } {
  return vault === undefined ? {} : { headers: { "x-vault": vault } };
}

/** The server keeps its word a little late, and the network takes its time. */
function waiting(seconds: number | undefined): { query?: { wait: string }; timeoutMs?: number } {
  return seconds === undefined ? {} : { query: { wait: `${seconds}s` }, timeoutMs: (seconds + 10) * 1000 };
}
