/**
 * The audit log as it is written: numbered without gaps, with a head that the writers take turns at, a signing key, and
 * checkpoints that say which key signed them. Nothing wrote to the tables of the first schema, so they are made anew.
 */
import type { Migration } from "./migrations.ts";

export const audit: Migration = {
  name: "0005-audit",
  statements: ({ text, timestamp, bytes, integer, bigint, tableOptions }) => [
    `drop table audit_log`,
    `drop table audit_checkpoints`,
    `create table audit_log (
      id ${bigint} primary key,
      created_at ${timestamp} not null,
      actor_type ${text} not null,
      actor_id ${text} not null,
      actor_name ${text} not null,
      session_id ${text} not null,
      client_ip ${text} not null,
      action ${text} not null,
      target_type ${text} not null,
      target_id ${text} not null,
      target_name ${text} not null,
      vault_id ${text},
      before ${text},
      after ${text},
      previous_hash ${text} not null,
      hash ${text} not null unique
    ) ${tableOptions}`,
    `create index audit_log_by_vault on audit_log (vault_id, id)`,
    `create index audit_log_by_target on audit_log (target_type, target_id, id)`,
    `create index audit_log_by_actor on audit_log (actor_id, id)`,
    `create table audit_head (
      id ${integer} primary key,
      last_id ${bigint} not null,
      last_hash ${text} not null
    ) ${tableOptions}`,
    `insert into audit_head (id, last_id, last_hash) values (1, 0, '${"0".repeat(64)}')`,
    `create table audit_keys (
      id ${text} primary key,
      public_key_pem ${text} not null,
      private_key_sealed ${bytes} not null,
      state ${text} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
    // Two first starts at once may both make a key; one of them wins.
    `create unique index audit_keys_one_active on audit_keys (state) where state = 'active'`,
    `create table audit_checkpoints (
      audit_id ${bigint} primary key,
      hash ${text} not null,
      key_id ${text} not null,
      signature ${text} not null,
      created_at ${timestamp} not null
    ) ${tableOptions}`,
  ],
};
