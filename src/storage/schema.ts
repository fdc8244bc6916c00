/**
 * Every table, as Kysely types: the one place that names columns. The migrations create exactly this.
 *
 * Conventions, on both engines:
 * - `Timestamp` is RFC 3339 UTC text with milliseconds (`2026-01-31T12:00:00.000Z`): TEXT on SQLite, timestamptz on
 *   PostgreSQL, where the driver is told to give it back as the same text.
 * - `Flag` is 0 or 1 (INTEGER / smallint); node:sqlite cannot bind booleans.
 * - `Json` is JSON text. Ids are lowercase UUIDs: version 7 (time-ordered) unless said otherwise.
 * - Sealed columns hold a record of `crypto/keyring.ts`, bound to (table, row, column).
 */
import type { Generated } from "kysely";

export type Timestamp = string;
export type Flag = 0 | 1;
export type Json = string;

export interface Schema {
  /** One row, id 1: which product wrote this file, and the counter that every announced change raises. */
  instance: { id: number; product: string; instance_id: string; change_counter: number; created_at: Timestamp };
  migrations: { name: string; applied_at: Timestamp };
  instance_settings: { key: string; value: Json; updated_at: Timestamp };

  /** One row, id 1: how the data keys are protected. `mode` is password | none | a key provider's label. */
  key_protection: {
    id: number;
    mode: string;
    kdf: Json | null;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  /** Numbered data keys, wrapped (or raw when mode is `none`). The highest active number seals new values. */
  data_keys: { number: number; wrapped: Uint8Array; state: string; created_at: Timestamp };
  /**
   * Certificate authorities; `active` signs, `next` and `retired` are served to clients beside it during a rotation.
   * At `due_at` one goes on by itself.
   */
  authorities: {
    id: string;
    certificate_pem: string;
    private_key_sealed: Uint8Array;
    state: string;
    created_at: Timestamp;
    due_at: Generated<Timestamp | null>;
    overlap_seconds: Generated<number | null>;
  };

  users: {
    id: string;
    /** Lower-cased and trimmed; unique. */
    email: string;
    password_hash: Uint8Array;
    password_salt: Uint8Array;
    kdf_time: number;
    kdf_memory: number;
    kdf_threads: number;
    role: string;
    is_active: Flag;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  agents: {
    id: string;
    name: string;
    role: string;
    status: string;
    created_by_type: string | null;
    created_by_id: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
    revoked_at: Timestamp | null;
  };
  /** Login sessions, agent tokens and vault-scoped tokens. `digest` is SHA-256 (hex) of the whole token. */
  sessions: {
    digest: string;
    /** 20 lowercase hex characters; safe to show and to log. */
    public_id: string;
    kind: string;
    user_id: string | null;
    agent_id: string | null;
    vault_id: string | null;
    vault_role: string | null;
    label: string | null;
    device_label: string | null;
    last_ip: string | null;
    last_user_agent: string | null;
    /** Who minted a scoped token; it ends with that actor's right to mint it. */
    created_by_user_id: string | null;
    created_by_agent_id: string | null;
    idle_ttl_seconds: number | null;
    expires_at: Timestamp | null;
    last_used_at: Timestamp | null;
    created_at: Timestamp;
  };
  /** Exactly one of user_id and agent_id is set. */
  vault_grants: {
    id: string;
    vault_id: string;
    user_id: string | null;
    agent_id: string | null;
    role: string;
    created_at: Timestamp;
  };
  user_invites: {
    id: string;
    token_digest: string;
    /** Last 8 characters of the token, to tell invitations apart; not a secret. */
    token_suffix: string;
    email: string;
    role: string;
    status: string;
    created_by_type: string | null;
    created_by_id: string | null;
    created_at: Timestamp;
    expires_at: Timestamp;
    accepted_at: Timestamp | null;
  };
  user_invite_vaults: { invite_id: string; vault_id: string; vault_role: string };
  agent_invites: {
    id: string;
    token_digest: string;
    token_suffix: string;
    agent_name: string;
    role: string;
    status: string;
    vaults: Json;
    created_by_type: string | null;
    created_by_id: string | null;
    created_at: Timestamp;
    expires_at: Timestamp;
    redeemed_at: Timestamp | null;
    /** Life of the token that it gives; null for one that does not expire. */
    session_ttl_seconds: number | null;
    /** The agent whose token it replaces; null where it makes a new agent. */
    agent_id: string | null;
  };
  /** E-mail verification and password reset codes. `code_mac` is an HMAC under a server key, not a bare hash. */
  one_time_codes: {
    id: string;
    purpose: string;
    email: string;
    code_mac: string;
    status: string;
    created_at: Timestamp;
    expires_at: Timestamp;
    /** Of the registration that a code answers; all five or none. */
    password_hash: Uint8Array | null;
    password_salt: Uint8Array | null;
    kdf_time: number | null;
    kdf_memory: number | null;
    kdf_threads: number | null;
  };
  /** Failure counters that must survive a restart: brute force on codes and passwords. */
  failure_counters: { key: string; failures: number; window_started_at: Timestamp; expires_at: Timestamp };

  vaults: {
    id: string;
    name: string;
    /** Raised by every change to what a request through this vault may do. */
    version: number;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  vault_settings: { vault_id: string; key: string; value: string; updated_at: Timestamp };
  /** `position` keeps the stored order, which breaks ties in matching. `definition` is the service as JSON. */
  services: {
    id: string;
    vault_id: string;
    name: string;
    position: number;
    definition: Json;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  credentials: {
    id: string;
    vault_id: string;
    key: string;
    type: string;
    value_sealed: Uint8Array | null;
    version: number;
    description: string | null;
    expires_at: Timestamp | null;
    last_used_at: Timestamp | null;
    created_at: Timestamp;
    updated_at: Timestamp;
    /** The last reminder of `expires_at`, as the days that were left when it was due; null before the first. */
    reminded_days: Generated<number | null>;
  };
  /** Values of a static credential, the current one included; `version` is the credential's at that time. */
  credential_versions: {
    credential_id: string;
    version: number;
    value_sealed: Uint8Array | null;
    created_by_type: string | null;
    created_by_id: string | null;
    created_at: Timestamp;
  };
  credential_oauth: {
    credential_id: string;
    authorization_url: string | null;
    token_url: string;
    client_id: string;
    client_secret_sealed: Uint8Array | null;
    scopes: string;
    scope_separator: string;
    disable_pkce: Flag;
    token_auth_method: string;
    refresh_token_sealed: Uint8Array | null;
    token_expires_at: Timestamp | null;
    connected_at: Timestamp | null;
    last_refreshed_at: Timestamp | null;
    last_refresh_error: string | null;
    last_refresh_error_at: Timestamp | null;
    /** Random, new with every change of the settings or the tokens: who saw another one saw an older state. */
    revision: Generated<string>;
    /** Who is asking the provider for a new token, and until when nobody else may. */
    refresh_lease_owner: Generated<string | null>;
    refresh_lease_until: Generated<Timestamp | null>;
  };
  oauth_states: {
    state_digest: string;
    credential_id: string;
    /** The person who began the flow; the callback completes it for nobody else. */
    user_id: string | null;
    agent_id: string | null;
    configuration: Json;
    verifier_sealed: Uint8Array | null;
    created_at: Timestamp;
    expires_at: Timestamp;
    /** Digest of the cookie of the browser that began; null where no browser did. */
    browser_digest: Generated<string | null>;
    /** The provider's code, while the person who began has not confirmed that the browser was theirs. */
    code_sealed: Generated<Uint8Array | null>;
    confirmation_mac: Generated<string | null>;
    confirmation_attempts: Generated<number>;
  };
  credential_stores: {
    vault_id: string;
    kind: string;
    configuration: Json;
    poll_interval_seconds: number;
    last_synced_at: Timestamp | null;
    last_sync_status: string | null;
    last_sync_error: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  leases: {
    lease_id: string;
    vault_id: string;
    owner_instance: string;
    secret_name: string;
    configuration: Json;
    expires_at: Timestamp;
    created_at: Timestamp;
  };

  /** `number` is sequential per vault and is the id on the wire. */
  proposals: {
    id: string;
    vault_id: string;
    number: number;
    status: string;
    services: Json;
    credentials: Json;
    message: string;
    user_message: string;
    proposed_by_type: string | null;
    proposed_by_id: string | null;
    proposed_by_session: string | null;
    reviewed_by_type: string | null;
    reviewed_by_id: string | null;
    review_note: string;
    reviewed_at: Timestamp | null;
    approval_token_digest: string;
    approval_token_expires_at: Timestamp;
    /** Number of the proposal that took its place; its status is then `expired`. */
    superseded_by: number | null;
    /** What the reviewer left out: `{"services": [name…], "credentials": [key…]}`; null when everything was applied. */
    declined: Json | null;
    created_at: Timestamp;
  };
  /** `target_sealed` holds address and signing secret as JSON: the address of a chat's webhook is a secret itself. */
  proposal_webhooks: {
    vault_id: string;
    target_sealed: Uint8Array;
    last_attempt_at: Timestamp | null;
    last_result: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  proposal_credentials: { proposal_id: string; key: string; value_sealed: Uint8Array };

  /** One row per proxied request. `id` is a strictly increasing integer, the cursor of the API. */
  request_entries: {
    id: Generated<number>;
    vault_id: string;
    context_id: number;
    request_id: string;
    path: string;
    status: number;
    bytes_in: number;
    bytes_out: number;
    latency_ms: number;
    upstream_ms: number | null;
    flags: Json | null;
    /** When the request arrived, not when the row was written. */
    created_at: Timestamp;
  };
  /** What many entries have in common. `id` is random; two contexts may say the same. */
  request_contexts: {
    id: number;
    actor_type: string;
    actor_id: string;
    session_id: string;
    ingress: string;
    method: string;
    scheme: string;
    host: string;
    matched_service: string;
    credential_keys: Json;
    error_code: string;
    auth_scheme: string;
    auth_header: string;
    client_ip: string;
    protocol: string;
    created_at: Timestamp;
  };
  /** A view: entries with their contexts. */
  request_log: Omit<Schema["request_entries"], "id" | "context_id" | "flags"> &
    Omit<Schema["request_contexts"], "id" | "created_at"> & { id: number; flags: Json };
  /** Maintained beside the log, so that listing discovered hosts does not aggregate it. */
  discovered_hosts: {
    vault_id: string;
    host: string;
    request_count: number;
    auth_scheme: string;
    auth_header: string;
    last_seen: Timestamp;
  };
  /**
   * The control plane's own history; each row carries the hash of the one before it (docs/audit.md). `id` counts from 1
   * without gaps.
   */
  audit_log: {
    id: number;
    created_at: Timestamp;
    actor_type: string;
    actor_id: string;
    /** E-mail address or name at that time: accounts go, the log stays. */
    actor_name: string;
    session_id: string;
    client_ip: string;
    action: string;
    target_type: string;
    target_id: string;
    target_name: string;
    vault_id: string | null;
    before: Json | null;
    after: Json | null;
    previous_hash: string;
    hash: string;
  };
  /** One row, id 1: where the chain ends. Whoever appends locks it until the commit. */
  audit_head: { id: number; last_id: number; last_hash: string };
  /** The keys that sign checkpoints; `active` signs. */
  audit_keys: {
    /** First 32 hex characters of the SHA-256 of the public key (DER, SubjectPublicKeyInfo). */
    id: string;
    public_key_pem: string;
    private_key_sealed: Uint8Array;
    state: string;
    created_at: Timestamp;
  };
  audit_checkpoints: { audit_id: number; hash: string; key_id: string; signature: string; created_at: Timestamp };
}
