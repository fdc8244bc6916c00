/** Contracts of what went through the proxy, and what agents look for (spec of the API, sections 8 to 10). */
import { answer, authed, param } from "../openapi/contract.ts";
import { choice, flag, listOf, maybe, named, nullable, shape, text, time, whole } from "../openapi/schema.ts";
import { candidates, credentialKey, nextCursor } from "./common.ts";

const member = { area: "Log", who: "vault-member" } as const;
const path = "/v1/vaults/{name}/logs";

export const discover = authed({
  area: "Agent",
  who: "agent",
  method: "GET",
  path: "/discover",
  operation: "discover",
  does: "Say what one may use: services, and names of credentials",
  headers: { "X-Vault": text("Name of the vault; for agents") },
  answers: {
    200: answer(shape({ vault: text(), services: candidates, available_credentials: listOf(credentialKey) })),
  },
  errors: ["service_unreadable"],
});

export const listDiscoveredHosts = authed({
  ...member,
  method: "GET",
  path: "/v1/vaults/{name}/discovered-hosts",
  operation: "listDiscoveredHosts",
  does: "List hosts that agents called in vain and that no service covers",
  query: {
    limit: param(whole("5 without it; 0 only counts, more than 100 are cut to that", { minimum: 0 })),
    cursor: param(text("Empty for the first page, then `next_cursor`")),
  },
  answers: {
    200: answer(
      shape({
        hosts: listOf(
          named(
            "DiscoveredHost",
            shape({
              host: text(),
              request_count: whole(),
              last_seen: time(),
              auth_scheme: maybe(text("What the client sent: `bearer`, `basic` or `api-key`")),
              auth_header: maybe(text()),
              templates: maybe(listOf(text(), "Ids of service templates that fit")),
            }),
          ),
        ),
        total: whole("Before the limit"),
        next_cursor: nextCursor,
      }),
    ),
  },
  errors: ["invalid_cursor"],
});

/** All of them together; one that is empty or not understood is no filter. */
export const logFilters = {
  ingress: param(text()),
  service: param(text("Name of the service that matched")),
  status_bucket: param(choice(["2xx", "3xx", "4xx", "5xx", "err"])),
  method: param(text()),
  host: param(text("`host:port`, or a host with whatever port")),
  actor: param(text("Id, address or name")),
  session: param(text("Public id of a session")),
  error_code: param(text()),
  request_id: param(text()),
  since: param(text("A time: requests that arrived then or later", { format: "date-time" })),
  until: param(text("A time: requests that arrived before", { format: "date-time" })),
};

const row = named(
  "LoggedRequest",
  shape({
    id: whole(),
    request_id: text(),
    ingress: text(),
    method: text(),
    scheme: text(),
    host: text("`host:port`"),
    path: text("Without a query"),
    matched_service: text("Empty when there was none"),
    credential_keys: listOf(credentialKey),
    status: whole(),
    latency_ms: whole(),
    upstream_ms: nullable(whole()),
    protocol: text("`http/1.1`, `h2`"),
    queue_ms: nullable(whole()),
    dns_ms: nullable(whole()),
    connect_ms: nullable(whole()),
    tls_ms: nullable(whole()),
    upstream_reused: nullable(flag()),
    upstream_address: nullable(text()),
    retried: maybe(flag()),
    bytes_in: whole(),
    bytes_out: whole(),
    error_code: text("Empty when there was none"),
    actor_type: text("`user`, `agent` or empty"),
    actor_id: text(),
    actor_name: maybe(text()),
    session_id: text(),
    request_count: maybe(whole("More than one when the log could not keep up")),
    scrub: maybe(
      shape(
        { mode: text(), credential_keys: listOf(credentialKey), not_scanned: maybe(flag()) },
        "Found in the answer",
      ),
    ),
    created_at: time(),
  }),
);

export const listLogs = authed({
  ...member,
  method: "GET",
  path,
  operation: "listLogs",
  does: "List requests that went through the proxy, the newest first",
  query: {
    ...logFilters,
    limit: param(whole("50 without it; more than 200 are cut to that", { minimum: 1 })),
    before: param(whole("Rows older than this id", { minimum: 1 })),
    cursor: param(text("The same as `before`")),
    after: param(whole("Rows newer than this id; the oldest of them come first, in pages", { minimum: 1 })),
  },
  answers: {
    200: answer(
      shape({
        logs: listOf(row),
        next_cursor: nullable(whole("For `before`")),
        latest_id: whole("For `after`"),
      }),
    ),
  },
  errors: ["conflicting_cursors", "invalid_time"],
});

export const followLogs = authed({
  ...member,
  method: "GET",
  path: `${path}/tail`,
  operation: "followLogs",
  does: "Follow the log live, as server-sent events",
  notes: "`log` with a row each, `end` with the reason, and a comment every 15 seconds.",
  headers: { "Last-Event-ID": text("Where to go on") },
  query: { ...logFilters, after: param(whole("Begin behind this id", { minimum: 1 })) },
  answers: { 200: { description: "A stream of events", content: { "text/event-stream": text() } } },
  errors: ["invalid_time", "too_many_tails", "server_stopping"],
});

export const exportLogs = authed({
  ...member,
  method: "GET",
  path: `${path}/export`,
  operation: "exportLogs",
  does: "Everything in the log, the oldest first",
  query: { ...logFilters, format: param(choice(["ndjson", "csv"])) },
  answers: {
    200: {
      description: "One row a line",
      content: { "application/x-ndjson": text(), "text/csv": text() },
      headers: { "Content-Disposition": "A name for the file" },
    },
  },
  errors: ["invalid_time", "invalid_format"],
});
