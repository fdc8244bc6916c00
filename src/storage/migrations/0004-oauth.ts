import type { Migration } from "./migrations.ts";

/** Refreshing tokens once for all instances, confirming a connection, reminding of dates. Columns: `schema.ts`. */
export const oauth: Migration = {
  name: "0004-oauth",
  statements: ({ text, timestamp, bytes, integer }) => [
    `alter table credential_oauth add column revision ${text} not null default ''`,
    `alter table credential_oauth add column refresh_lease_owner ${text}`,
    `alter table credential_oauth add column refresh_lease_until ${timestamp}`,
    `alter table oauth_states add column browser_digest ${text}`,
    `alter table oauth_states add column code_sealed ${bytes}`,
    `alter table oauth_states add column confirmation_mac ${text}`,
    `alter table oauth_states add column confirmation_attempts ${integer} not null default 0`,
    `alter table credentials add column reminded_days ${integer}`,
    `create index credentials_by_expiry on credentials (expires_at) where expires_at is not null`,
  ],
};
