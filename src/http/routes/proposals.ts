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
import { Fields } from "../fields.ts";
import { nextCursor, parsePage } from "../page.ts";
import { formatForAgent, formatForReview, formatOutlook, formatReviewItem, formatSummary } from "../proposal-form.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface ProposalDependencies {
  readonly access: Access;
  readonly proposals: Proposals;
  readonly proposalWaiting: ProposalWaiting;
  readonly reviews: Reviews;
}

const authed = { access: "session", tier: "authed" } as const;
const withBody = { ...authed, body: true } as const;
/** A little less than what load balancers allow a silent connection. */
const maxWaitMs = 50_000;

export function registerProposalRoutes(router: ApiRouter, dependencies: ProposalDependencies): void {
  registerAgentRoutes(router, dependencies);
  registerReviewReads(router, dependencies);
  registerDecisions(router, dependencies);
}

function registerAgentRoutes(router: ApiRouter, dependencies: ProposalDependencies): void {
  const { access, proposals } = dependencies;

  router.on("POST", "/v1/proposals", withBody, async (request) => {
    const { vault } = await access.sessionVault(request.principal, request.headers.get("x-vault"));
    const body = new Fields(await request.wholeJson());
    const { number, approvalUrl } = await proposals.create(request.principal, vault, body);
    const answer = { id: number, status: "pending", vault: vault.name, approval_url: approvalUrl };
    return secretJson({ ...answer, message: `Proposal created. Approve here: ${approvalUrl}` }, { status: 201 });
  });

  router.on("GET", "/v1/proposals", authed, async (request) => {
    const { vault } = await access.sessionVault(request.principal, request.headers.get("x-vault"));
    return json(
      await listPage(proposals, vault.id, request, { status: request.query("status"), format: formatSummary }),
    );
  });

  router.on("GET", "/v1/proposals/{id}", authed, async (request) => {
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

  router.on("GET", "/v1/admin/proposals", authed, async (request) => {
    const { vault, role } = await access.vault(request.principal, vaultName(request), "access");
    const status = role === "proxy" ? "pending" : request.query("status");
    return json(await listPage(proposals, vault.id, request, { status, format: formatReviewItem }));
  });

  router.on("GET", "/v1/admin/proposals/{id}", authed, async (request) => {
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
  router.on("POST", "/v1/admin/proposals/{id}/approve", withBody, async (request) => {
    const number = readNumber(request);
    const fields = new Fields(await request.json());
    const { vault } = await access.proposalReview(request.principal, fields.string("vault") || defaultVaultName);
    const given = Object.entries(fields.texts("credentials") ?? {});
    const declined = await reviews.approve(request.principal, vault, number, {
      values: new Map(given.map(([key, value]) => [key, new Secret(value)])),
      only: readSelection(fields.object("only")),
      vaultVersion: fields.integer("vault_version"),
    });
    return json({ id: number, status: "applied", ...(declined !== undefined && { declined }) });
  });

  router.on("POST", "/v1/admin/proposals/{id}/reject", withBody, async (request) => {
    const number = readNumber(request);
    const fields = new Fields(await request.json());
    const { vault } = await access.proposalReview(request.principal, fields.string("vault") || defaultVaultName);
    await reviews.reject(request.principal, vault, number, fields.string("reason") ?? "");
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
  request: ApiRequest,
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
  request: ApiRequest,
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
function readSelection(only: Fields | undefined): Selection | undefined {
  return only && { services: only.strings("services") ?? [], credentials: only.strings("credentials") ?? [] };
}

function readBefore(request: ApiRequest): number | undefined {
  const text = request.query("before");
  if (!text) return undefined;
  const number = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (number >= 1) return Math.min(number, 2 ** 31 - 1);
  throw new InvalidInput("invalid_page", "before must be a whole number of at least 1");
}

/** `0` and negative ones are numbers that no proposal has. */
function readNumber(request: ApiRequest): number {
  const text = request.params.id ?? "";
  const number = /^[+-]?\d{1,19}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(number)) throw new InvalidInput("invalid_proposal_id", "Invalid proposal id");
  // Beyond what the column holds, which no proposal reaches.
  return Math.abs(number) < 2 ** 31 ? number : 0;
}

function vaultName(request: ApiRequest): string {
  return request.query("vault") || defaultVaultName;
}
