/** Proposals as agents make and follow them, and as people review them (spec of the API, section 7). */
import { parseDuration } from "../../config/variables.ts";
import { Secret } from "../../crypto/secret.ts";
import type { Access, VaultRef } from "../../domain/actors/access.ts";
import type { VaultRole } from "../../domain/actors/principal.ts";
import { cutPage, keyAfter, rowsToRead } from "../../domain/page.ts";
import type { Proposal, Selection } from "../../domain/proposals/proposal.ts";
import { type Proposals, proposalNotFound } from "../../domain/proposals/proposals.ts";
import type { Reviews } from "../../domain/proposals/review.ts";
import type { ProposalWaiting } from "../../domain/proposals/waiting.ts";
import { defaultVaultName } from "../../domain/vaults/vault.ts";
import { Forbidden, InvalidInput, NotFound, Unauthenticated } from "../../errors.ts";
import { json, secretJson } from "../answer.ts";
import {
  approve,
  createProposal,
  getProposal,
  getReview,
  listProposals,
  listReviews,
  reject,
} from "../contracts/proposals.ts";
import { nextCursor, parsePage } from "../page.ts";
import { formatForAgent, formatForReview, formatOutlook, formatReviewItem, formatSummary } from "../proposal-form.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface ProposalDependencies {
  readonly access: Access;
  readonly proposals: Proposals;
  readonly proposalWaiting: ProposalWaiting;
  readonly reviews: Reviews;
}

/** A little less than what load balancers allow a silent connection. */
const maxWaitMs = 50_000;

export function registerProposalRoutes(router: ApiRouter, dependencies: ProposalDependencies): void {
  registerAgentRoutes(router, dependencies);
  registerReviewReads(router, dependencies);
  registerDecisions(router, dependencies);
}

function registerAgentRoutes(router: ApiRouter, dependencies: ProposalDependencies): void {
  const { access, proposals } = dependencies;

  router.on(createProposal, async (request) => {
    const { vault } = await access.sessionVault(request.principal, request.headers.get("x-vault"));
    const { services, credentials, message, user_message, supersedes } = await request.body();
    const { number, approvalUrl } = await proposals.create(request.principal, vault, {
      services: services ?? [],
      slots: credentials ?? [],
      message: message ?? "",
      userMessage: user_message ?? "",
      supersedes,
    });
    const answer = { id: number, status: "pending", vault: vault.name, approval_url: approvalUrl };
    return secretJson({ ...answer, message: `Proposal created. Approve here: ${approvalUrl}` }, { status: 201 });
  });

  router.on(listProposals, async (request) => {
    const { vault } = await access.sessionVault(request.principal, request.headers.get("x-vault"));
    return json(
      await listPage(proposals, vault.id, request, { status: request.query("status"), format: formatSummary }),
    );
  });

  router.on(getProposal, async (request) => {
    const { vault } = await access.sessionVault(request.principal, request.headers.get("x-vault"));
    const number = readNumber(request);
    const proposal = await findOrWait(dependencies, request, vault, number);
    if (proposal === undefined) throw proposalNotFound(number);
    // Whoever waited may have lost the grant meanwhile.
    if (request.query("wait")) await access.sessionVault(request.principal, request.headers.get("x-vault"));
    return json({ ...formatForAgent(proposal), ...formatOutlook(await proposals.outlook(proposal)) });
  });
}

function registerReviewReads(router: ApiRouter, dependencies: ProposalDependencies): void {
  const { access, proposals } = dependencies;

  router.on(listReviews, async (request) => {
    const { vault, role } = await access.vault(request.principal, vaultName(request), "access");
    const status = role === "proxy" ? "pending" : request.query("status");
    return json(await listPage(proposals, vault.id, request, { status, format: formatReviewItem }));
  });

  router.on(getReview, async (request) => {
    const { vault, role } = await access.vault(request.principal, vaultName(request), "access");
    const number = readNumber(request);
    const proposal = await findOrWait(dependencies, request, vault, number);
    if (proposal === undefined) {
      throw new NotFound("proposal_not_found", `Proposal #${number} not found in vault "${vault.name}"`);
    }
    if (request.query("wait")) await access.vault(request.principal, vaultName(request), "access");
    refuseHistory(request, role, proposal);
    return json({ ...formatForReview(proposal), ...formatOutlook(await proposals.outlook(proposal)) });
  });
}

function registerDecisions(router: ApiRouter, { access, reviews }: ProposalDependencies): void {
  router.on(approve, async (request) => {
    const number = readNumber(request);
    const body = await request.body();
    const { vault } = await access.proposalReview(request.principal, body.vault || defaultVaultName);
    const given = Object.entries(body.credentials ?? {});
    const declined = await reviews.approve(request.principal, vault, number, {
      values: new Map(given.map(([key, value]) => [key, new Secret(value)])),
      only: readSelection(body.only),
      vaultVersion: body.vault_version,
    });
    return json({ id: number, status: "applied", ...(declined !== undefined && { declined }) });
  });

  router.on(reject, async (request) => {
    const number = readNumber(request);
    const body = await request.body();
    const { vault } = await access.proposalReview(request.principal, body.vault || defaultVaultName);
    await reviews.reject(request.principal, vault, number, body.reason ?? "");
    return json({ id: number, status: "rejected" });
  });
}

/**
 * All of them unless `limit` or `cursor` says otherwise; then `next_cursor` continues where the page ends, and so does
 * `next_before`, the number for `before`.
 */
async function listPage(
  proposals: Proposals,
  vaultId: string,
  request: ApiRequest<unknown, "limit" | "cursor" | "before">,
  { status, format }: { readonly status: string | undefined; readonly format: (proposal: Proposal) => object },
): Promise<object> {
  const wanted = parsePage(request);
  const [after] = keyAfter(wanted, "integer") ?? [];
  const before = after === undefined ? readBefore(request) : Number(after);
  const found = await proposals.list(vaultId, { status, before, limit: wanted && rowsToRead(wanted) });
  const page = cutPage(found, wanted, ({ number }) => [String(number)]);
  const nextBefore = page.next === undefined ? {} : { next_before: Number(page.next[0]) };
  return { proposals: page.items.map(format), ...nextBefore, ...nextCursor(wanted, page) };
}

/** With `?wait=30s`, the proposal once it has ended, or as it is after that time. */
async function findOrWait(
  { proposals, proposalWaiting }: ProposalDependencies,
  request: ApiRequest<unknown, "wait">,
  vault: VaultRef,
  number: number,
): Promise<Proposal | undefined> {
  const timeoutMs = readWait(request.query("wait"));
  const now = await proposals.find(vault.id, number);
  if (timeoutMs === 0 || now?.status !== "pending") return now;
  const { sessionId } = request.principal;
  const wait = { vaultId: vault.id, number, caller: sessionId, timeoutMs, signal: request.signal };
  const proposal = await request.aside(() => proposalWaiting.untilEnded(wait));
  // The token may have been revoked meanwhile.
  if ((await request.findPrincipal()) === undefined) {
    throw new Unauthenticated("invalid_session", "Invalid or expired session");
  }
  return proposal;
}

/** Tokens of role proxy look at what waits for approval only, as existing clients know it. */
function refuseHistory({ principal }: ApiRequest, role: VaultRole | undefined, { status }: Proposal): void {
  if (principal.kind !== "scoped" || role !== "proxy" || status === "pending") return;
  throw new Forbidden("pending_only", "Proxy-role agents can only view pending proposals");
}

function readWait(text: string | undefined): number {
  if (!text) return 0;
  const milliseconds = /^\d{1,6}$/.test(text) ? Number(text) * 1000 : parseDuration(text);
  if (milliseconds !== undefined) return Math.min(milliseconds, maxWaitMs);
  throw new InvalidInput("invalid_wait", "wait must be a duration such as 30s");
}

/** `only` names what is applied; a list that is left out of it is empty. */
function readSelection(
  only: { readonly [List in keyof Selection]: readonly string[] | undefined } | undefined,
): Selection | undefined {
  return only && { services: only.services ?? [], credentials: only.credentials ?? [] };
}

function readBefore(request: ApiRequest<unknown, "before">): number | undefined {
  const text = request.query("before");
  if (!text) return undefined;
  const number = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (number >= 1) return Math.min(number, 2 ** 31 - 1);
  throw new InvalidInput("invalid_page", "before must be a whole number of at least 1");
}

/** `0` and negative ones are numbers that no proposal has. */
function readNumber(request: ApiRequest<unknown, never, "id">): number {
  const text = request.params.id;
  const number = /^[+-]?\d{1,19}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(number)) throw new InvalidInput("invalid_proposal_id", "Invalid proposal id");
  // Beyond what the column holds, which no proposal reaches.
  return Math.abs(number) < 2 ** 31 ? number : 0;
}

function vaultName(request: ApiRequest<unknown, "vault">): string {
  return request.query("vault") || defaultVaultName;
}
