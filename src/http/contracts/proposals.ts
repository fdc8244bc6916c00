/** Contracts of proposals (spec of the API, section 7). */
import { body, integer, needed, object, rawList, string, strings, texts } from "../openapi/body.ts";
import { answer, authed, open, pageQuery, param } from "../openapi/contract.ts";
import {
  choice,
  constant,
  flag,
  listOf,
  mapOf,
  maybe,
  named,
  nullable,
  oneOf,
  shape,
  text,
  time,
  whole,
} from "../openapi/schema.ts";
import { credentialKey, nextCursor, vaultField, vaultQuery } from "./common.ts";
import { proposedService, sentProposedService, sentSlot, slot } from "./service-shapes.ts";

const id = { id: text("Number of the proposal in its vault", { pattern: "^[+-]?[0-9]{1,19}$" }) };
const agent = { area: "Agent", who: "agent", headers: { "X-Vault": text("Name of the vault; for agents") } } as const;
const reviewsRead = { area: "Proposals", who: "vault-access" } as const;
const decides = { area: "Proposals", who: "vault-member" } as const;

const state = choice(["pending", "applied", "rejected", "expired"]);
const pageOfProposals = {
  status: param(text("Only those that are `pending`, `applied`, `rejected` or `expired`")),
  ...pageQuery,
  before: param(whole("`next_before` of the page before", { minimum: 1 })),
};
const nextBefore = maybe(whole("Where the next page begins; absent on the last one"));
const wait = param(text("Answer when the proposal has ended, or after this time (at most 50s): `30s`"));

const party = shape({ type: choice(["user", "agent"]), id: maybe(text()), name: maybe(text()) });
const reviewTime = text("`YYYY-MM-DD HH:MM:SS`, UTC", { pattern: "^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d$" });
const more = {
  proposed_by: maybe(
    shape({
      type: choice(["user", "agent"]),
      id: maybe(text()),
      name: maybe(text()),
      via: choice(["vault_token", "agent_token"]),
      label: maybe(text()),
    }),
  ),
  reviewed_by: maybe(party),
  declined: maybe(
    shape({ services: listOf(text()), credentials: listOf(credentialKey) }, "What the reviewer left out"),
  ),
  superseded_by: maybe(whole("Number of the proposal that took its place")),
  expires_at: maybe(time("Of a pending one")),
};
const outlook = {
  consequences: listOf(
    named(
      "Consequence",
      shape({
        kind: text("A stable word"),
        severity: choice(["info", "warning"]),
        text: text("One sentence"),
        service: maybe(text()),
        host: maybe(text()),
        credentials: maybe(listOf(credentialKey)),
      }),
    ),
    "What an approval would change",
  ),
  vault_version: whole("For `vault_version` of the approval"),
};
const documents = {
  services_json: text("The services, as JSON in a text"),
  credentials_json: text("The credential slots, as JSON in a text"),
};

export const createProposal = authed({
  ...agent,
  method: "POST",
  path: "/v1/proposals",
  operation: "createProposal",
  does: "Ask for services and credentials",
  notes: "At least one service or slot. Nothing holds until somebody approves it under the address of the answer.",
  body: body(
    {
      services: rawList(sentProposedService, "At most 10"),
      credentials: rawList(sentSlot, "At most 10"),
      message: string(text("For developers; at most 2000 bytes")),
      user_message: string(text("For whoever decides; at most 5000 bytes")),
      supersedes: integer(whole("A pending proposal of yours that ends with this one", { minimum: 1 })),
    },
    { isWhole: true, isOptional: false },
  ),
  answers: {
    201: answer(
      shape({
        id: whole(),
        status: constant("pending"),
        vault: text(),
        approval_url: text("For the person who decides; shown only now", { format: "uri" }),
        message: text(),
      }),
      "Created",
    ),
  },
  errors: [
    "invalid_proposal",
    "description_not_supported",
    "service_not_found",
    "ambiguous_service",
    "external_credential_store",
    "proposal_not_found",
    "proposal_ended",
    "too_many_proposals",
  ],
});

export const listProposals = authed({
  ...agent,
  method: "GET",
  path: "/v1/proposals",
  operation: "listProposals",
  does: "List the proposals of one's vault, the newest first",
  query: pageOfProposals,
  answers: {
    200: answer(
      shape({
        proposals: listOf(shape({ id: whole(), status: state, message: text(), created_at: time() })),
        next_before: nextBefore,
        next_cursor: nextCursor,
      }),
    ),
  },
  errors: ["invalid_page"],
});

export const getProposal = authed({
  ...agent,
  method: "GET",
  path: "/v1/proposals/{id}",
  operation: "getProposal",
  does: "Show a proposal, at once or when it has ended",
  params: id,
  query: { wait },
  answers: {
    200: answer(
      shape({
        id: whole(),
        status: state,
        services: listOf(proposedService),
        credentials: nullable(listOf(slot)),
        message: text(),
        review_note: text(),
        reviewed_at: nullable(reviewTime),
        created_at: time(),
        ...more,
        ...outlook,
      }),
    ),
  },
  errors: ["invalid_proposal_id", "invalid_wait", "proposal_not_found", "too_many_waiting", "proposal_unreadable"],
});

export const showApproval = open({
  area: "Proposals",
  tier: "auth-token",
  method: "GET",
  path: "/v1/proposals/approve-details",
  operation: "showApproval",
  does: "Show a proposal to whoever has its approval link",
  notes: "Who is signed in is read from the cookie only. The link lets nobody decide.",
  query: {
    token: { ...param(text("The token of the link")), isRequired: true },
    id: { ...param(text("Number of the proposal")), isRequired: true },
  },
  answers: {
    200: answer(
      oneOf(
        shape({ error: constant(true), error_title: text(), error_message: text() }),
        shape({
          proposal_id: whole(),
          vault: text(),
          status: constant("pending"),
          services: listOf(proposedService),
          credentials: nullable(listOf(slot)),
          message: text(),
          user_message: text(),
          agent_name: text(),
          created_at: time(),
          expires_at: time(),
          authenticated: flag(),
          can_approve: flag(),
          user_email: text(),
          requested_by: maybe(text()),
          consequences: maybe(outlook.consequences),
          vault_version: maybe(outlook.vault_version),
        }),
      ),
      "The proposal, or how it ended",
    ),
  },
  errors: ["token_required", "proposal_mismatch", "unknown_link", "link_expired"],
});

export const listReviews = authed({
  ...reviewsRead,
  method: "GET",
  path: "/v1/admin/proposals",
  operation: "listProposalsForReview",
  does: "List the proposals of a vault for whoever decides, the newest first",
  notes: "With role proxy only pending ones.",
  query: { vault: vaultQuery, ...pageOfProposals },
  answers: {
    200: answer(
      shape({
        proposals: listOf(
          shape({
            id: whole(),
            status: state,
            message: text(),
            ...documents,
            review_note: maybe(text()),
            reviewed_at: maybe(reviewTime),
            created_at: time(),
            ...more,
          }),
        ),
        next_before: nextBefore,
        next_cursor: nextCursor,
      }),
    ),
  },
  errors: ["invalid_page"],
});

export const getReview = authed({
  ...reviewsRead,
  method: "GET",
  path: "/v1/admin/proposals/{id}",
  operation: "getProposalForReview",
  does: "Show a proposal and what it would change",
  params: id,
  query: { vault: vaultQuery, wait },
  answers: {
    200: answer(
      shape({
        id: whole(),
        status: state,
        message: text(),
        user_message: text(),
        ...documents,
        review_note: text(),
        created_at: time(),
        reviewed_at: maybe(reviewTime),
        ...more,
        ...outlook,
      }),
    ),
  },
  errors: [
    "invalid_proposal_id",
    "invalid_wait",
    "proposal_not_found",
    "pending_only",
    "too_many_waiting",
    "proposal_unreadable",
  ],
});

export const approve = authed({
  ...decides,
  method: "POST",
  path: "/v1/admin/proposals/{id}/approve",
  operation: "approveProposal",
  does: "Do what a proposal asks for",
  params: id,
  body: body(
    {
      vault: vaultField,
      credentials: texts(mapOf(text("A value", { format: "password" }), "Values by key, for slots that have none")),
      only: object(
        { services: strings(), credentials: strings(listOf(credentialKey)) },
        "Names of what is applied; the rest is declined",
      ),
      vault_version: integer(whole("Refuse if the vault has changed since")),
    },
    { isOptional: false },
  ),
  answers: { 200: answer(shape({ id: whole(), status: constant("applied"), declined: more.declined })) },
  errors: [
    "invalid_proposal_id",
    "proposal_not_found",
    "proposal_ended",
    "proposal_outdated",
    "vault_changed",
    "invalid_selection",
    "missing_value",
    "empty_value",
    "own_proposal",
    "vault_admin_required",
    "external_credential_store",
    "proposal_unreadable",
  ],
});

export const reject = authed({
  ...decides,
  method: "POST",
  path: "/v1/admin/proposals/{id}/reject",
  operation: "rejectProposal",
  does: "Decline a proposal",
  params: id,
  body: body({ vault: vaultField, reason: string(text("Why, for the agent")) }, { isOptional: false }),
  answers: { 200: answer(shape({ id: whole(), status: constant("rejected") })) },
  errors: [
    "invalid_proposal_id",
    "invalid_proposal",
    "proposal_not_found",
    "proposal_ended",
    "vault_admin_required",
    "proposal_unreadable",
  ],
});

const webhookPath = "/v1/vaults/{name}/proposal-webhook";
const webhookRoute = { area: "Proposals", who: "vault-admin" } as const;
const webhook = {
  vault: text(),
  origin: text("Scheme and host of the address; the rest may be secret"),
  updated_at: time(),
  last_attempt_at: maybe(text()),
  last_result: maybe(text("`ok`, or why the last try failed")),
};

export const getWebhook = authed({
  ...webhookRoute,
  method: "GET",
  path: webhookPath,
  operation: "getProposalWebhook",
  does: "Show where a vault tells about its proposals",
  answers: { 200: answer(shape(webhook)) },
  errors: ["webhook_not_found"],
});

export const setWebhook = authed({
  ...webhookRoute,
  method: "PUT",
  path: webhookPath,
  operation: "setProposalWebhook",
  does: "Say where a vault tells about its proposals",
  body: body({ url: needed(string(text("An https address", { format: "uri" }))) }),
  answers: { 200: answer(shape({ ...webhook, secret: text("Signs what is sent; shown only now") })) },
  errors: ["invalid_webhook", "webhooks_off"],
});

export const removeWebhook = authed({
  ...webhookRoute,
  method: "DELETE",
  path: webhookPath,
  operation: "removeProposalWebhook",
  does: "Tell nobody about proposals any more",
  answers: { 200: answer(shape({ vault: text(), deleted: constant(true) })) },
  errors: ["webhook_not_found"],
});
