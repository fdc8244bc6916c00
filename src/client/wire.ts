/** What the API answers, as it is on the wire. Timestamps are RFC 3339. */

export interface Status {
  readonly initialized: boolean;
  readonly needs_first_user: boolean;
  readonly base_url?: string;
}

/** The root certificates of the proxy; the one that signs comes first. */
export interface Roots {
  readonly roots: readonly {
    readonly state: "active" | "next" | "retired";
    readonly fingerprint_sha256: string;
    readonly expires_at: string;
    readonly created_at: string;
    /** When it goes on by itself. */
    readonly due_at?: string;
  }[];
}

export interface Registered {
  readonly email: string;
  readonly requires_verification: boolean;
  readonly email_sent: boolean;
  readonly message?: string;
  readonly token?: string;
}

export interface IssuedToken {
  readonly token: string;
  readonly expires_at?: string;
  readonly av_addr?: string;
}

export interface LoginSession {
  readonly id: string;
  readonly device_label?: string;
  readonly last_ip?: string;
  readonly last_used_at?: string;
  readonly expires_at?: string;
  readonly created_at: string;
  readonly current: boolean;
}

/** `ttl_seconds` is 300 to 604800; a day when absent. */
export interface ScopedSessionRequest {
  readonly vault: string;
  readonly ttl_seconds?: number | undefined;
  readonly vault_role?: string | undefined;
  readonly label?: string | undefined;
}

export interface ScopedSession {
  readonly id: string;
  readonly label?: string;
  readonly vault_role: string;
  readonly created_by?: { readonly display_name?: string };
  readonly created_at: string;
  readonly expires_at?: string;
}

export interface VaultGrant {
  readonly vault_name: string;
  readonly vault_role: string;
}

export interface Profile {
  readonly email: string;
  readonly role: string;
  readonly vaults: readonly (string | VaultGrant)[] | null;
  readonly created_at: string;
}

export interface User {
  readonly email: string;
  readonly role: string;
  readonly vaults?: readonly VaultGrant[] | null;
  readonly created_at: string;
}

export interface Invite {
  readonly id?: string;
  readonly token_suffix?: string;
  readonly email: string;
  readonly role: string;
  readonly status: string;
  readonly created_by: string;
  readonly created_by_name?: string;
  readonly vaults: readonly VaultGrant[] | null;
  readonly expires_at: string;
  readonly created_at: string;
}

export interface CreatedInvite {
  readonly email: string;
  readonly email_sent: boolean;
  readonly invite_link?: string;
  readonly email_error?: string;
  readonly expires_at: string;
}

export interface CreatedAgentInvite {
  readonly token: string;
  readonly agent_name: string;
  readonly role: string;
  readonly vaults: readonly VaultGrant[] | null;
  /** The agent sends a POST here, once. */
  readonly invite_link: string;
  readonly expires_at: string;
}

export interface AgentInvite {
  readonly id: string;
  readonly token_suffix: string;
  readonly agent_name: string;
  readonly role: string;
  readonly status: string;
  readonly rotation: boolean;
  readonly vaults: readonly VaultGrant[] | null;
  readonly created_at: string;
  readonly expires_at: string;
}

export interface Agent {
  readonly name: string;
  readonly role: string;
  readonly status: string;
  readonly vaults: readonly VaultGrant[] | null;
  readonly created_at: string;
  readonly updated_at?: string;
  readonly revoked_at?: string;
  readonly active_tokens?: number;
}

export interface AgentToken {
  readonly av_agent_token: string;
  readonly name: string;
  readonly role?: string;
  readonly vaults?: readonly VaultGrant[] | null;
}

export interface Vault {
  readonly id: string;
  readonly name: string;
  readonly role?: string;
  readonly created_at: string;
  readonly credential_store?: { readonly kind: string };
}

/** Where the credentials of a vault are kept; `config` and the sync only for a store outside. */
export interface CredentialStore {
  readonly kind: string;
  readonly config?: {
    readonly project_id?: string;
    readonly environment?: string;
    readonly secret_path?: string;
  } | null;
  readonly poll_interval_seconds?: number;
  readonly last_sync_status?: string | null;
  readonly last_synced_at?: string | null;
  readonly last_sync_error?: string | null;
}

export interface VaultContext {
  readonly vault_name: string;
  readonly vault_role: string;
  readonly credential_store?: CredentialStore | null;
}

export interface VaultUser {
  readonly email: string;
  readonly role: string;
  readonly status: string;
}

export interface VaultAgent {
  readonly name: string;
  readonly vault_role: string;
  readonly status: string;
}

export interface ServiceAuth {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A service as the API lists it; `host` in its joined form `host:port/path`. */
export interface WireService {
  readonly name: string;
  readonly host: string;
  readonly enabled?: boolean;
  readonly auth?: ServiceAuth;
  readonly [field: string]: unknown;
}

export interface Discovery {
  readonly vault: string;
  readonly services: readonly { readonly name: string; readonly host: string }[] | null;
  readonly available_credentials: readonly string[] | null;
}

export interface CredentialEntry {
  readonly key: string;
  readonly type?: string;
  readonly value?: string;
  readonly unavailable?: boolean;
  readonly version?: number;
  readonly description?: string;
  readonly expires_at?: string;
  readonly last_used_at?: string;
  readonly updated_at?: string;
  readonly connected_at?: string;
  readonly last_refreshed_at?: string;
  readonly last_refresh_error?: string;
  readonly token_expires_at?: string;
  readonly authorization_url?: string;
  readonly token_url?: string;
  readonly client_id?: string;
  /** A mask when one is stored, as are the two tokens. */
  readonly client_secret?: string;
  readonly access_token?: string;
  readonly refresh_token?: string;
  readonly scopes?: string;
  readonly scope_separator?: string;
  readonly disable_pkce?: boolean;
  readonly token_auth_method?: string;
}

export interface CredentialDetails {
  readonly description?: string;
  /** A date or a time. */
  readonly expires_at?: string;
}

export interface CredentialVersion {
  readonly version: number;
  readonly created_at: string;
  readonly created_by?: { readonly type: string; readonly name: string };
  readonly current: boolean;
}

export interface OAuthProvider {
  readonly id: string;
  readonly name: string;
  readonly suggested_credential_key: string;
  readonly authorization_url: string;
  readonly token_url: string;
  readonly token_auth_method: string;
  readonly scope_separator: string;
  readonly suggested_scopes: readonly string[];
}

/** With `provider` the addresses and the method may be left out. */
export interface OAuthConnect {
  readonly vault: string;
  readonly key: string;
  readonly provider?: string | undefined;
  readonly authorization_url?: string | undefined;
  readonly token_url?: string | undefined;
  readonly client_id?: string | undefined;
  readonly client_secret?: string | undefined;
  readonly scopes?: string | undefined;
  readonly scope_separator?: string | undefined;
  readonly disable_pkce?: boolean | undefined;
  readonly token_auth_method?: string | undefined;
}

export interface OAuthTokens {
  readonly vault: string;
  readonly key: string;
  readonly access_token?: string | undefined;
  readonly refresh_token?: string | undefined;
  readonly token_url?: string | undefined;
  readonly client_id?: string | undefined;
  readonly client_secret?: string | undefined;
  readonly token_auth_method?: string | undefined;
}

export interface OAuthStatus {
  readonly connected: boolean;
  readonly connected_at?: string;
  readonly last_error?: string;
}

export interface CredentialList {
  readonly keys: readonly string[] | null;
  readonly credentials?: readonly CredentialEntry[] | null;
}

/** A template of the catalog: what a new service may start from. */
export interface Template {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly description?: string;
  /** Absent on servers that do not sort their catalog. */
  readonly category?: string;
  /** Where the provider says how to authenticate. */
  readonly docs?: string;
  /** What else whoever adds it should know. */
  readonly notes?: string;
  readonly auth_type: string;
  readonly suggested_credential_key?: string;
  /** `basic` only: the credential with the user name. */
  readonly suggested_username_key?: string;
  readonly header?: string;
  readonly prefix?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly substitutions?: readonly {
    readonly key: string;
    readonly placeholder: string;
    readonly in?: readonly string[];
  }[];
  readonly strip_headers?: readonly string[];
}

/** A host that agents called and no service covers. */
export interface DiscoveredHost {
  readonly host: string;
  readonly request_count: number;
  readonly last_seen: string;
  /** How agents tried to authenticate: `bearer`, `basic`, `api-key`; absent when they did not. */
  readonly auth_scheme?: string;
  readonly auth_header?: string;
  /** Templates of the catalog for this host; absent without any, and on older servers. */
  readonly templates?: readonly string[];
}

export interface VaultSettings {
  readonly unmatched_host_policy: string;
  /** Absent on servers that do not look into answers. */
  readonly scrub?: string;
}

export interface InstanceSettings {
  readonly allowed_email_domains: readonly string[] | null;
  readonly invite_only: boolean;
  readonly [field: string]: unknown;
}

/** Which requests of the log; all conditions together. Times are RFC 3339. */
export interface LogFilter {
  /** `tunnel` for tunnels that have ended. */
  readonly ingress?: string | undefined;
  readonly service?: string | undefined;
  readonly status_bucket?: string | undefined;
  readonly method?: string | undefined;
  readonly host?: string | undefined;
  /** Id, e-mail address or agent name. */
  readonly actor?: string | undefined;
  readonly session?: string | undefined;
  readonly error_code?: string | undefined;
  readonly request_id?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

export interface LogRow {
  readonly id: number;
  readonly request_id?: string;
  readonly method: string;
  readonly scheme?: string;
  readonly host: string;
  readonly path: string;
  readonly matched_service: string;
  readonly credential_keys: readonly string[] | null;
  readonly status: number;
  readonly latency_ms: number;
  readonly upstream_ms?: number | null;
  readonly queue_ms?: number;
  readonly dns_ms?: number | null;
  readonly connect_ms?: number | null;
  readonly tls_ms?: number | null;
  readonly upstream_reused?: boolean | null;
  readonly error_code: string;
  readonly actor_type: string;
  readonly actor_id: string;
  readonly actor_name?: string;
  readonly request_count?: number;
  readonly created_at: string;
}

/** Newest first. `next_cursor` is for `before`, `latest_id` for following. */
export interface LogPage {
  readonly logs: readonly LogRow[] | null;
  readonly next_cursor: number | null;
  readonly latest_id: number;
}

export interface CreatedProposal {
  readonly id: number;
  readonly status: string;
  readonly vault: string;
  readonly approval_url: string;
  readonly message?: string;
}

export interface ProposalFilter {
  readonly status?: string | undefined;
  readonly limit?: string | undefined;
  readonly before?: string | undefined;
}

export interface ProposalList {
  readonly proposals: readonly Proposal[] | null;
  /** There are more: ask with `before` set to this. */
  readonly next_before?: number;
}

export interface ProposedService {
  readonly action: string;
  readonly name?: string;
  readonly host: string;
  readonly enabled?: boolean;
  readonly auth?: ServiceAuth;
  readonly substitutions?: readonly ProposedSubstitution[];
}

export interface ProposedSubstitution {
  readonly key: string;
  readonly placeholder: string;
  readonly in?: readonly string[];
}

export interface ProposalSlot {
  readonly action: string;
  readonly key: string;
  readonly type?: string;
  readonly description?: string;
  readonly obtain?: string;
  readonly obtain_instructions?: string;
  readonly has_value?: boolean;
}

export interface ProposalConsequence {
  readonly kind: string;
  readonly severity: string;
  readonly text: string;
}

/** As agents and as reviewers see it: the former get lists, the latter the same lists as JSON texts. */
export interface Proposal {
  readonly id: number;
  readonly status: string;
  readonly message?: string;
  readonly user_message?: string;
  readonly services?: readonly ProposedService[] | null;
  readonly credentials?: readonly ProposalSlot[] | null;
  readonly services_json?: string;
  readonly credentials_json?: string;
  readonly review_note?: string;
  /** `2026-01-31 12:00:00`, UTC. */
  readonly reviewed_at?: string | null;
  readonly created_at: string;
  readonly expires_at?: string;
  readonly proposed_by?: ProposalParty;
  readonly reviewed_by?: ProposalParty;
  readonly declined?: ProposalSelection;
  readonly superseded_by?: number;
  readonly consequences?: readonly ProposalConsequence[];
  readonly vault_version?: number;
}

export interface ProposalParty {
  readonly type: string;
  readonly name?: string;
  readonly via?: string;
  readonly label?: string;
}

/** Names of services and keys of credentials. */
export interface ProposalSelection {
  readonly services: readonly string[];
  readonly credentials: readonly string[];
}

export interface ProposalApproval {
  readonly credentials: Readonly<Record<string, string>>;
  readonly only?: ProposalSelection;
  readonly vault_version?: number;
}

export interface DecidedProposal {
  readonly id: number;
  readonly status: string;
  readonly declined?: ProposalSelection;
}

export interface ProposalWebhook {
  readonly vault: string;
  readonly origin: string;
  readonly secret?: string;
  readonly last_attempt_at?: string;
  readonly last_result?: string;
}

export interface AuditEntry {
  readonly id: number;
  readonly created_at: string;
  readonly actor: { readonly type: string; readonly id: string; readonly name: string };
  readonly session_id: string;
  readonly client_ip: string;
  readonly action: string;
  readonly target: { readonly type: string; readonly id: string; readonly name: string };
  readonly vault_id: string | null;
  readonly vault_name: string | null;
  readonly before: unknown;
  readonly after: unknown;
  readonly hash: string;
}

export interface AuditPage {
  readonly entries: readonly AuditEntry[];
  /** For `before` of the next page; null on the last. */
  readonly next_cursor: number | null;
}

export interface CheckpointPage {
  readonly checkpoints: readonly {
    readonly audit_id: number;
    readonly hash: string;
    readonly key_id: string;
    readonly signature: string;
    readonly created_at: string;
  }[];
  readonly next_cursor: number | null;
}
