import type { Migration, Words } from "./migrations.ts";

/** How proposals end item by item and by a newer one, and who is told about them by webhook. */
export const proposalOutcomes: Migration = {
  name: "0002-proposals",
  statements: ({ text, timestamp, bytes, integer, tableOptions }: Words) => [
    `alter table proposals add column superseded_by ${integer}`,
    `alter table proposals add column declined ${text}`,
    // What the sweep looks for: few rows, whatever the history has grown to.
    `create index proposals_open on proposals (created_at) where status = 'pending'`,
    `create table proposal_webhooks (
      vault_id ${text} primary key references vaults (id) on delete cascade,
      target_sealed ${bytes} not null,
      last_attempt_at ${timestamp},
      last_result ${text},
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null
    ) ${tableOptions}`,
  ],
};
