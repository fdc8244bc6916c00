import type { Migration, Seed, Words } from "./migrations.ts";

/** Every table of the product. Columns are explained in `schema.ts`. */
export const firstSchema: Migration = {
  name: "0001-first-schema",
  statements: (words, seed) => [
    ...instance(words, seed),
    ...actors(words),
    ...vaults(words, seed),
    ...credentials(words),
    ...proposals(words),
    ...history(words),
  ],
};

function instance({ text, timestamp, bytes, integer, bigint, tableOptions }: Words, seed: Seed): readonly string[] {
  return [
    `create table instance (
      id ${integer} primary key check (id = 1),
      product ${text} not null,
      instance_id ${text} not null,
      change_counter ${bigint} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
    `insert into instance values (1, 'agent-vault', '${seed.instanceId}', 0, '${seed.now}')`,
    `create table migrations (name ${text} primary key, applied_at ${timestamp} not null) ${tableOptions}`,
    `create table instance_settings (
      key ${text} primary key,
      value ${text} not null,
      updated_at ${timestamp} not null
    ) ${tableOptions}`,
    `create table key_protection (
      id ${integer} primary key check (id = 1),
      mode ${text} not null,
      kdf ${text},
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null
    ) ${tableOptions}`,
    `create table data_keys (
      number ${integer} primary key check (number > 0),
      wrapped ${bytes} not null,
      state ${text} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
    `create table authorities (
      id ${text} primary key,
      certificate_pem ${text} not null,
      private_key_sealed ${bytes} not null,
      state ${text} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
    // Two first starts at once may both make an authority; one of them wins.
    `create unique index authorities_one_active on authorities (state) where state = 'active'`,
    `create table one_time_codes (
      id ${text} primary key,
      purpose ${text} not null,
      email ${text} not null,
      code_mac ${text} not null,
      status ${text} not null,
      created_at ${timestamp} not null,
      expires_at ${timestamp} not null
    ) ${tableOptions}`,
    `create index one_time_codes_by_email on one_time_codes (email, purpose, status)`,
    `create index one_time_codes_by_expiry on one_time_codes (expires_at)`,
    `create table failure_counters (
      key ${text} primary key,
      failures ${integer} not null,
      window_started_at ${timestamp} not null,
      expires_at ${timestamp} not null
    ) ${tableOptions}`,
    `create index failure_counters_by_expiry on failure_counters (expires_at)`,
  ];
}

const instanceRole = "('owner', 'member', 'no-access')";
const vaultRole = "('proxy', 'member', 'admin')";

function actors({ text, timestamp, bytes, integer, tableOptions }: Words): readonly string[] {
  return [
    `create table users (
      id ${text} primary key,
      email ${text} not null unique check (email = lower(email)),
      password_hash ${bytes} not null,
      password_salt ${bytes} not null,
      kdf_time ${integer} not null,
      kdf_memory ${integer} not null,
      kdf_threads ${integer} not null,
      role ${text} not null check (role in ${instanceRole}),
      is_active ${integer} not null check (is_active in (0, 1)),
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null
    ) ${tableOptions}`,
    `create table agents (
      id ${text} primary key,
      name ${text} not null unique,
      role ${text} not null check (role in ${instanceRole}),
      status ${text} not null check (status in ('active', 'revoked')),
      created_by_type ${text},
      created_by_id ${text},
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null,
      revoked_at ${timestamp}
    ) ${tableOptions}`,
    `create table user_invites (
      id ${text} primary key,
      token_digest ${text} not null unique,
      token_suffix ${text} not null,
      email ${text} not null,
      role ${text} not null check (role in ${instanceRole}),
      status ${text} not null check (status in ('pending', 'accepted', 'expired', 'revoked')),
      created_by_type ${text},
      created_by_id ${text},
      created_at ${timestamp} not null,
      expires_at ${timestamp} not null,
      accepted_at ${timestamp}
    ) ${tableOptions}`,
    `create index user_invites_by_email on user_invites (email, status)`,
    `create index user_invites_by_expiry on user_invites (status, expires_at)`,
    `create table agent_invites (
      id ${text} primary key,
      token_digest ${text} not null unique,
      token_suffix ${text} not null,
      agent_name ${text} not null,
      role ${text} not null check (role in ${instanceRole}),
      status ${text} not null,
      vaults ${text} not null,
      created_by_type ${text},
      created_by_id ${text},
      created_at ${timestamp} not null,
      expires_at ${timestamp} not null,
      redeemed_at ${timestamp}
    ) ${tableOptions}`,
    `create index agent_invites_by_expiry on agent_invites (status, expires_at)`,
  ];
}

function vaults({ text, timestamp, integer, bigint, tableOptions }: Words, seed: Seed): readonly string[] {
  const ofVault = "references vaults (id) on delete cascade";
  const ofUser = "references users (id) on delete cascade";
  const ofAgent = "references agents (id) on delete cascade";
  return [
    `create table vaults (
      id ${text} primary key,
      name ${text} not null unique,
      version ${bigint} not null,
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null
    ) ${tableOptions}`,
    `insert into vaults values ('00000000-0000-0000-0000-000000000000', 'default', 1, '${seed.now}', '${seed.now}')`,
    `create table vault_settings (
      vault_id ${text} not null ${ofVault},
      key ${text} not null,
      value ${text} not null,
      updated_at ${timestamp} not null,
      primary key (vault_id, key)
    ) ${tableOptions}`,
    `create table vault_grants (
      id ${text} primary key,
      vault_id ${text} not null ${ofVault},
      user_id ${text} ${ofUser},
      agent_id ${text} ${ofAgent},
      role ${text} not null check (role in ${vaultRole}),
      created_at ${timestamp} not null,
      unique (vault_id, user_id),
      unique (vault_id, agent_id),
      check ((user_id is null) <> (agent_id is null))
    ) ${tableOptions}`,
    `create index vault_grants_by_user on vault_grants (user_id)`,
    `create index vault_grants_by_agent on vault_grants (agent_id)`,
    `create table user_invite_vaults (
      invite_id ${text} not null references user_invites (id) on delete cascade,
      vault_id ${text} not null ${ofVault},
      vault_role ${text} not null check (vault_role in ${vaultRole}),
      primary key (invite_id, vault_id)
    ) ${tableOptions}`,
    `create index user_invite_vaults_by_vault on user_invite_vaults (vault_id)`,
    // A login belongs to a user, an agent's token to an agent, a scoped token to a vault: exactly one of the three.
    `create table sessions (
      digest ${text} primary key,
      public_id ${text} not null unique,
      kind ${text} not null,
      user_id ${text} ${ofUser},
      agent_id ${text} ${ofAgent},
      vault_id ${text} ${ofVault},
      vault_role ${text} check (vault_role in ${vaultRole}),
      label ${text},
      device_label ${text},
      last_ip ${text},
      last_user_agent ${text},
      created_by_user_id ${text} ${ofUser},
      created_by_agent_id ${text} ${ofAgent},
      idle_ttl_seconds ${integer},
      expires_at ${timestamp},
      last_used_at ${timestamp},
      created_at ${timestamp} not null,
      check (1 = (case when user_id is null then 0 else 1 end)
               + (case when agent_id is null then 0 else 1 end)
               + (case when vault_id is null then 0 else 1 end)),
      check ((vault_id is null) = (vault_role is null))
    ) ${tableOptions}`,
    ...["user_id", "agent_id", "vault_id", "created_by_user_id", "created_by_agent_id", "expires_at"].map(
      (column) => `create index sessions_by_${column} on sessions (${column}) where ${column} is not null`,
    ),
    `create table services (
      id ${text} primary key,
      vault_id ${text} not null ${ofVault},
      name ${text} not null,
      position ${integer} not null,
      definition ${text} not null,
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null,
      unique (vault_id, name)
    ) ${tableOptions}`,
    `create index services_in_order on services (vault_id, position)`,
    `create table credential_stores (
      vault_id ${text} primary key ${ofVault},
      kind ${text} not null,
      configuration ${text} not null,
      poll_interval_seconds ${integer} not null check (poll_interval_seconds >= 10),
      last_synced_at ${timestamp},
      last_sync_status ${text},
      last_sync_error ${text},
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null
    ) ${tableOptions}`,
    `create table leases (
      lease_id ${text} primary key,
      vault_id ${text} not null ${ofVault},
      owner_instance ${text} not null,
      secret_name ${text} not null,
      configuration ${text} not null,
      expires_at ${timestamp} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
    `create index leases_by_vault on leases (vault_id)`,
    `create index leases_by_expiry on leases (expires_at)`,
  ];
}

function credentials({ text, timestamp, bytes, integer, tableOptions }: Words): readonly string[] {
  const ofCredential = "references credentials (id) on delete cascade";
  return [
    `create table credentials (
      id ${text} primary key,
      vault_id ${text} not null references vaults (id) on delete cascade,
      key ${text} not null,
      type ${text} not null,
      value_sealed ${bytes},
      version ${integer} not null,
      description ${text},
      expires_at ${timestamp},
      last_used_at ${timestamp},
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null,
      unique (vault_id, key)
    ) ${tableOptions}`,
    `create table credential_versions (
      credential_id ${text} not null ${ofCredential},
      version ${integer} not null,
      value_sealed ${bytes},
      created_by_type ${text},
      created_by_id ${text},
      created_at ${timestamp} not null,
      primary key (credential_id, version)
    ) ${tableOptions}`,
    `create table credential_oauth (
      credential_id ${text} primary key ${ofCredential},
      authorization_url ${text},
      token_url ${text} not null,
      client_id ${text} not null,
      client_secret_sealed ${bytes},
      scopes ${text} not null,
      scope_separator ${text} not null,
      disable_pkce ${integer} not null check (disable_pkce in (0, 1)),
      token_auth_method ${text} not null,
      refresh_token_sealed ${bytes},
      token_expires_at ${timestamp},
      connected_at ${timestamp},
      last_refreshed_at ${timestamp},
      last_refresh_error ${text},
      last_refresh_error_at ${timestamp}
    ) ${tableOptions}`,
    `create table oauth_states (
      state_digest ${text} primary key,
      credential_id ${text} not null ${ofCredential},
      user_id ${text} references users (id) on delete cascade,
      agent_id ${text} references agents (id) on delete cascade,
      configuration ${text} not null,
      verifier_sealed ${bytes},
      created_at ${timestamp} not null,
      expires_at ${timestamp} not null
    ) ${tableOptions}`,
    ...["credential_id", "user_id", "agent_id", "expires_at"].map(
      (column) => `create index oauth_states_by_${column} on oauth_states (${column})`,
    ),
  ];
}

function proposals({ text, timestamp, bytes, integer, tableOptions }: Words): readonly string[] {
  return [
    `create table proposals (
      id ${text} primary key,
      vault_id ${text} not null references vaults (id) on delete cascade,
      number ${integer} not null check (number > 0),
      status ${text} not null,
      services ${text} not null,
      credentials ${text} not null,
      message ${text} not null,
      user_message ${text} not null,
      proposed_by_type ${text},
      proposed_by_id ${text},
      proposed_by_session ${text},
      reviewed_by_type ${text},
      reviewed_by_id ${text},
      review_note ${text} not null,
      reviewed_at ${timestamp},
      approval_token_digest ${text} not null unique,
      approval_token_expires_at ${timestamp} not null,
      created_at ${timestamp} not null,
      unique (vault_id, number)
    ) ${tableOptions}`,
    `create index proposals_by_status on proposals (vault_id, status, number)`,
    `create table proposal_credentials (
      proposal_id ${text} not null references proposals (id) on delete cascade,
      key ${text} not null,
      value_sealed ${bytes} not null,
      primary key (proposal_id, key)
    ) ${tableOptions}`,
  ];
}

/**
 * The journal has no foreign key on its vault: a batch of lines must not fail because one of its vaults was deleted
 * a moment before. A trigger deletes the lines of a vault with it; a straggler goes by age.
 */
function history(words: Words): readonly string[] {
  const { text, timestamp, integer, bigint, serialKey, tableOptions } = words;
  return [
    `create table request_log (
      id ${serialKey},
      vault_id ${text} not null,
      request_id ${text} not null,
      actor_type ${text} not null,
      actor_id ${text} not null,
      session_id ${text} not null,
      ingress ${text} not null,
      method ${text} not null,
      scheme ${text} not null,
      host ${text} not null,
      path ${text} not null,
      matched_service ${text} not null,
      credential_keys ${text} not null,
      status ${integer} not null,
      error_code ${text} not null,
      auth_scheme ${text} not null,
      auth_header ${text} not null,
      client_ip ${text} not null,
      bytes_in ${bigint} not null,
      bytes_out ${bigint} not null,
      latency_ms ${integer} not null,
      upstream_ms ${integer},
      flags ${text} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
    `create index request_log_newest on request_log (vault_id, id desc)`,
    ...words.deleteWithVault("request_log"),
    `create table discovered_hosts (
      vault_id ${text} not null,
      host ${text} not null,
      request_count ${bigint} not null,
      auth_scheme ${text} not null,
      auth_header ${text} not null,
      last_seen ${timestamp} not null,
      primary key (vault_id, host)
    ) ${tableOptions}`,
    ...words.deleteWithVault("discovered_hosts"),
    `create table audit_log (
      id ${serialKey},
      actor_type ${text} not null,
      actor_id ${text} not null,
      session_id ${text} not null,
      client_ip ${text} not null,
      action ${text} not null,
      target_type ${text} not null,
      target_id ${text} not null,
      vault_id ${text},
      before ${text},
      after ${text},
      previous_hash ${text} not null,
      hash ${text} not null unique,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
    `create index audit_log_by_vault on audit_log (vault_id, id)`,
    `create index audit_log_by_target on audit_log (target_type, target_id, id)`,
    `create table audit_checkpoints (
      audit_id ${bigint} primary key,
      hash ${text} not null,
      signature ${text} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
  ];
}
