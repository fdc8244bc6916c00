/** Contracts of the whole server: state, settings, audit log (spec of accounts, 6.1 and 6.11). */
import { body, boolean, integer, number, object, objectMap, string, strings } from "../openapi/body.ts";
import { answer, authed, open, param } from "../openapi/contract.ts";
import {
  choice,
  constant,
  flag,
  listOf,
  maybe,
  named,
  nullable,
  real,
  type Schema,
  shape,
  text,
  whole,
} from "../openapi/schema.ts";
import { email } from "./common.ts";

const instance = { area: "Instance" } as const;
const owner = { area: "Instance", who: "owner" } as const;

export const health = open({
  ...instance,
  method: "GET",
  path: "/health",
  operation: "health",
  does: "Say whether the server works",
  initGate: false,
  answers: {
    200: answer(shape({ status: constant("ok") }), "It does"),
    503: answer(shape({ status: constant("unhealthy"), error: text() }), "The database cannot be reached"),
  },
});

export const status = open({
  ...instance,
  method: "GET",
  path: "/v1/status",
  operation: "showStatus",
  does: "Say what somebody without an account has to know",
  initGate: false,
  answers: {
    200: answer(
      shape({
        initialized: flag(),
        needs_first_user: flag(),
        base_url: maybe(text("Where people reach the server, if the operator said so", { format: "uri" })),
        allowed_email_domains: maybe(listOf(text())),
        invite_only: maybe(constant(true)),
      }),
    ),
  },
});

export const version = authed({
  ...instance,
  who: "token",
  method: "GET",
  path: "/v1/instance/version",
  operation: "showVersion",
  does: "Say which version the server is",
  answers: { 200: answer(shape({ version: text(), commit: text() })) },
});

export const certificate = open({
  ...instance,
  method: "GET",
  path: "/v1/mitm/ca.pem",
  operation: "getCertificate",
  does: "The certificate that clients of the proxy must trust",
  initGate: false,
  answers: {
    200: {
      description: "PEM",
      content: { "application/x-pem-file": text() },
      headers: {
        "X-MITM-Port": "Port of the proxy",
        "X-MITM-Scheme": "`https` where agents speak TLS to the proxy",
        "Content-Disposition": "A name for the file",
      },
    },
    404: { description: "There is no proxy", content: { "text/plain": text() } },
  },
});

export const showMetrics = open({
  ...instance,
  method: "GET",
  path: "/metrics",
  operation: "showMetrics",
  does: "Numbers for Prometheus",
  notes: "For an owner, or for the token that the operator has configured for it.",
  initGate: false,
  who: "owner",
  answers: { 200: { description: "Metrics", content: { "text/plain": text() } } },
  errors: ["authorization_required", "too_many_requests"],
});

const knobs = {
  rate: number(real("Requests a second", { minimum: 0 })),
  burst: integer(whole("Requests at once", { minimum: 0 })),
  window: string(text("A duration, such as 5m")),
  max: integer(whole("Requests in the window", { minimum: 0 })),
  concurrency: integer(whole("Requests under way", { minimum: 0 })),
};
const limitFields = {
  profile: string(text("`default`, `strict`, `loose` or `off`; empty for that of the environment")),
  overrides: objectMap(knobs, "By tier: AUTH, PROXY, AUTHED, GLOBAL, VERIFY_FAIL"),
};

const tier = named(
  "RateLimitTier",
  shape({
    rate: maybe(real()),
    burst: maybe(whole()),
    window: maybe(text()),
    max: maybe(whole()),
    concurrency: maybe(whole()),
    source: choice(["env", "override", "default"]),
  }),
);
const limits = named(
  "RateLimits",
  shape({
    profile: text(),
    locked: flag("The environment pins the limits"),
    off: flag(),
    tiers: shape({ AUTH: tier, PROXY: tier, AUTHED: tier, GLOBAL: tier, VERIFY_FAIL: tier }),
  }),
);
const settings = named(
  "InstanceSettings",
  shape({
    allowed_email_domains: listOf(text(), "Empty when every domain is allowed"),
    invite_only: flag(),
    smtp_configured: flag(),
    rate_limit: limits,
  }),
);

export const getSettings = authed({
  ...owner,
  method: "GET",
  path: "/v1/admin/settings",
  operation: "getSettings",
  does: "Show the settings of the instance",
  answers: { 200: answer(settings) },
});

export const changeSettings = authed({
  ...owner,
  method: "PUT",
  path: "/v1/admin/settings",
  operation: "changeSettings",
  does: "Change settings of the instance, all of them or none",
  notes: "What is left out stays as it is.",
  body: body({
    invite_only: boolean(),
    allowed_email_domains: strings(listOf(text(), "Empty to allow every domain")),
    rate_limit: object(limitFields),
  }),
  answers: { 200: answer(settings) },
  errors: ["invalid_domain", "invalid_rate_limit", "rate_limit_locked"],
});

export const previewLimits = authed({
  ...owner,
  method: "POST",
  path: "/v1/admin/settings/rate-limit/preview",
  operation: "previewRateLimits",
  does: "Show what limits would come of a change, without making it",
  body: body(limitFields),
  answers: { 200: answer(limits) },
  errors: ["rate_limit_locked"],
});

export const testMail = authed({
  ...owner,
  method: "POST",
  path: "/v1/admin/email/test",
  operation: "sendTestMail",
  does: "Send a mail to see whether that works",
  body: body({ to: string(email) }),
  answers: { 200: answer(shape({ message: text(), to: email }), "Sent") },
  errors: ["missing_field", "invalid_email", "smtp_not_configured", "mail_failed"],
});

export const auditFilters = {
  limit: param(whole("50 without it; more than 500 are cut to that", { minimum: 1 })),
  before: param(whole("`next_cursor` of the page before", { minimum: 1 })),
  action: param(text("An action, or a noun with all its actions: `vault.rename`, `vault`")),
  actor: param(text("Id or name of whoever did it")),
  target: param(text("Id or name of what it was done to")),
  since: param(text("A time or a day", { examples: ["2026-01-31"] })),
  until: param(text("A time or a day", { examples: ["2026-01-31T12:00:00Z"] })),
};
const anything: Schema = { description: "Whatever belongs to the action, without secrets" };
const part = (description: string) =>
  shape({ type: nullable(text()), id: nullable(text()), name: nullable(text()) }, description);
const auditPage = shape({
  entries: listOf(
    named(
      "AuditEntry",
      shape({
        id: whole(),
        created_at: text("RFC 3339 with milliseconds", { format: "date-time" }),
        actor: part("Who did it"),
        session_id: nullable(text()),
        client_ip: nullable(text()),
        action: text(),
        target: part("What it was done to"),
        vault_id: nullable(text()),
        vault_name: nullable(text("The name that the vault has now")),
        before: anything,
        after: anything,
        hash: text("Chains this entry to the one before"),
      }),
    ),
  ),
  next_cursor: nullable(whole("For `before`")),
});

export const listAudit = authed({
  area: "Audit",
  who: "owner",
  method: "GET",
  path: "/v1/audit",
  operation: "listAudit",
  does: "List who changed what, the newest first",
  query: { ...auditFilters, vault: param(text("Only what happened in this vault")) },
  answers: { 200: answer(auditPage) },
  errors: ["invalid_query", "vault_not_found"],
});

export const listVaultAudit = authed({
  area: "Audit",
  who: "vault-admin-or-owner",
  method: "GET",
  path: "/v1/vaults/{name}/audit",
  operation: "listVaultAudit",
  does: "List who changed what in a vault, the newest first",
  query: auditFilters,
  answers: { 200: answer(auditPage) },
  errors: ["invalid_query"],
});

export const exportAudit = authed({
  area: "Audit",
  who: "owner",
  method: "GET",
  path: "/v1/audit/export",
  operation: "exportAudit",
  does: "The whole audit log with its signatures, for a check without the server",
  answers: { 200: { description: "One JSON value a line", content: { "application/x-ndjson": text() } } },
});

export const listCheckpoints = authed({
  area: "Audit",
  who: "owner",
  method: "GET",
  path: "/v1/audit/checkpoints",
  operation: "listAuditCheckpoints",
  does: "List the signatures under the audit log, the newest first",
  query: { limit: auditFilters.limit, before: auditFilters.before },
  answers: {
    200: answer(
      shape({
        checkpoints: listOf({ type: "object", description: "One signature", additionalProperties: true }),
        next_cursor: nullable(whole("For `before`")),
      }),
    ),
  },
  errors: ["invalid_query"],
});

export const getAuditKey = authed({
  area: "Audit",
  who: "owner",
  method: "GET",
  path: "/v1/audit/key",
  operation: "getAuditKey",
  does: "The public key of those signatures",
  answers: { 200: answer(shape({ id: text(), algorithm: text(), public_key_pem: text() })) },
});

export const openSetupLink = open({
  area: "Pages",
  tier: "auth-ip",
  method: "GET",
  path: "/setup/{secret}",
  operation: "openSetupLink",
  does: "The link that a guarded server prints while it has no owner",
  initGate: false,
  params: { secret: text("The secret of the link") },
  answers: { 303: { description: "To the page that goes on from here", headers: { Location: "That page" } } },
  errors: ["setup_secret_wrong"],
});
