/** What the API answers, as it is on the wire. Timestamps are RFC 3339. */

export interface Status {
  readonly initialized: boolean;
  readonly needs_first_user: boolean;
  readonly base_url?: string;
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
}

export interface CredentialList {
  readonly keys: readonly string[] | null;
  readonly credentials?: readonly CredentialEntry[] | null;
}

export interface Template {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly description?: string;
  readonly auth_type: string;
  readonly suggested_credential_key?: string;
  readonly substitutions?: readonly unknown[];
}

export interface InstanceSettings {
  readonly allowed_email_domains: readonly string[] | null;
  readonly invite_only: boolean;
  readonly [field: string]: unknown;
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
