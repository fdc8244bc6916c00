/** What the page behind an approval link shows. The link lets anybody look who has it, and nobody decide. */
import type { Access } from "../../domain/actors/access.ts";
import { hasVaultRole, type Principal, type UserPrincipal } from "../../domain/actors/principal.ts";
import type { Sessions } from "../../domain/actors/session.ts";
import type { Proposals } from "../../domain/proposals/proposals.ts";
import { Unauthenticated } from "../../errors.ts";
import { json } from "../answer.ts";
import type { SessionCookie } from "../authenticate.ts";
import { showApproval } from "../contracts/proposals.ts";
import { formatForPage, formatForReviewerOfPage } from "../proposal-form.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface ProposalPageDependencies {
  readonly access: Access;
  readonly sessions: Pick<Sessions, "authenticate">;
  readonly proposals: Proposals;
  readonly cookie: SessionCookie;
}

export function registerProposalPageRoutes(
  router: ApiRouter,
  { access, sessions, proposals, cookie }: ProposalPageDependencies,
): void {
  router.on(showApproval, async (request) => {
    const number = normalNumber(request.query("id") ?? "");
    const { proposal, vault } = await proposals.byApprovalLink(request.query("token") ?? "", number);
    if (proposal.status !== "pending") {
      return json({
        error: true,
        error_title: capital(proposal.status),
        error_message:
          proposal.supersededBy === undefined
            ? `This request has already been ${proposal.status}.`
            : `This request was replaced by proposal ${proposal.supersededBy}.`,
      });
    }
    const person = await personOfCookie(sessions, request, cookie);
    const role = person && (await access.roleIn(person, vault.id));
    const canApprove = role !== undefined && hasVaultRole(role, "member");
    return json({
      ...formatForPage(proposal, vault.name),
      authenticated: person !== undefined,
      can_approve: canApprove,
      user_email: person?.email ?? "",
      // They tell about other services of the vault: not for whoever merely has the link.
      ...(canApprove && formatForReviewerOfPage(proposal, await proposals.outlook(proposal))),
    });
  });
}

/** Only the cookie is looked at: the page is for browsers. */
async function personOfCookie(
  sessions: Pick<Sessions, "authenticate">,
  { headers, clientIp }: ApiRequest,
  cookie: SessionCookie,
): Promise<UserPrincipal | undefined> {
  const presented = cookie.inCookie(headers);
  if (presented === undefined) return undefined;
  let principal: Principal;
  try {
    principal = await sessions.authenticate(presented.token, clientIp);
  } catch (error) {
    if (error instanceof Unauthenticated) return undefined;
    throw error;
  }
  return principal.kind === "user" ? principal : undefined;
}

/** `01` is 1. */
function normalNumber(text: string): string {
  return /^\d{1,15}$/.test(text) ? String(Number(text)) : text;
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
