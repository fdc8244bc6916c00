/**
 * The journal says which protocol an agent spoke. That is the same for all requests of a session to a host, so it stands
 * in the context, and a row costs nothing more.
 */
import type { Migration } from "./migrations.ts";

const own = [
  "vault_id",
  "request_id",
  "path",
  "status",
  "bytes_in",
  "bytes_out",
  "latency_ms",
  "upstream_ms",
  "created_at",
] as const;
const shared = [
  "actor_type",
  "actor_id",
  "session_id",
  "ingress",
  "method",
  "scheme",
  "host",
  "matched_service",
  "credential_keys",
  "error_code",
  "auth_scheme",
  "auth_header",
  "client_ip",
  "protocol",
] as const;

export const journalProtocol: Migration = {
  name: "0008-journal-protocol",
  statements: ({ text }) => [
    `drop view request_log`,
    `alter table request_contexts add column protocol ${text} not null default 'http/1.1'`,
    `create view request_log as
       select e.id, ${own.map((column) => `e.${column}`).join(", ")}, coalesce(e.flags, '{}') as flags,
              ${shared.map((column) => `c.${column}`).join(", ")}
       from request_entries e join request_contexts c on c.id = e.context_id`,
  ],
};
