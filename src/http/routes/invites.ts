/** Invitations of people (spec of accounts, 6.5). */
import type { Access } from "../../domain/actors/access.ts";
import type { Invites, SentInvite } from "../../domain/actors/invite.ts";
import type { RequestedVault } from "../../domain/actors/preassignment.ts";
import { Gone } from "../../errors.ts";
import { json, secretJson, wireTime } from "../answer.ts";
import {
  acceptUserInvite,
  inviteUser,
  listUserInvites,
  reinviteUser,
  revokeUserInvite,
  showUserInvite,
} from "../contracts/users.ts";
import { nextCursor, parsePage } from "../page.ts";
import { type ApiRequest, type ApiRouter, callerOf } from "../router.ts";
import { formatGrant } from "./users.ts";

export interface InviteDependencies {
  readonly access: Access;
  readonly invites: Invites;
}

export function registerInviteRoutes(router: ApiRouter, { access, invites }: InviteDependencies): void {
  router.on(inviteUser, async (request) => {
    const actor = access.instanceMember(request.principal);
    const body = await request.body();
    const invite = await invites.create(actor, {
      email: body.email,
      role: body.role,
      vaults: readVaults(body),
    });
    return answerSent(invite, { role: invite.role, vaults: invite.vaults.map(formatGrant) });
  });

  router.on(listUserInvites, async (request) => {
    const actor = access.instanceMember(request.principal);
    const wanted = parsePage(request);
    const page = await invites.page(actor, request.query("status"), wanted);
    return json({
      invites: page.items.map((invite) => ({
        email: invite.email,
        role: invite.role,
        status: invite.status,
        id: invite.handle,
        token: invite.handle,
        token_suffix: invite.tokenSuffix,
        created_by: invite.createdBy,
        ...(invite.createdByName !== undefined && { created_by_name: invite.createdByName }),
        vaults: invite.vaults.map(formatGrant),
        expires_at: wireTime(invite.expiresAt),
        created_at: wireTime(invite.createdAt),
      })),
      ...nextCursor(wanted, page),
    });
  });

  router.on(revokeUserInvite, async (request) => {
    const actor = access.instanceMember(request.principal);
    await invites.revoke(actor, request.params.token);
    return json({ message: "Invite revoked" });
  });

  router.on(reinviteUser, async (request) => {
    const actor = access.instanceMember(request.principal);
    return answerSent(await invites.reinvite(actor, request.params.token), {});
  });

  router.on(showUserInvite, async (request) => {
    try {
      const { invite, needsAccount } = await invites.details(request.params.token);
      return json({
        email: invite.email,
        role: invite.role,
        vaults: invite.vaults.map(formatGrant),
        needs_account: needsAccount,
      });
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      // The web page shows these, and recognises one of them by its title.
      return json({ error: true, error_title: titles[error.code] ?? "Invite Expired", error_message: error.message });
    }
  });

  router.on(acceptUserInvite, async (request) => {
    const password = await readPassword(request);
    const email = await invites.accept(request.params.token, password, callerOf(request));
    return json({ email, message: "Invite accepted. Sign in to continue." });
  });
}

const titles: Readonly<Record<string, string>> = {
  invite_accepted: "Already Accepted",
  invite_revoked: "Invite Revoked",
  invite_expired: "Invite Expired",
};

/** Vaults of a new agent or an invitation. */
export function readVaults({
  vaults,
}: {
  readonly vaults:
    | readonly { readonly vault_name: string | undefined; readonly vault_role: string | undefined }[]
    | undefined;
}): readonly RequestedVault[] {
  return (vaults ?? []).map(({ vault_name, vault_role }) => ({ vaultName: vault_name ?? "", vaultRole: vault_role }));
}

function answerSent(invite: SentInvite, content: object): Response {
  const { email, link, mail } = invite;
  const expiry = { expires_at: wireTime(invite.expiresAt) };
  if (typeof mail === "object") {
    const body = { email, invite_link: link, email_sent: false, email_error: mail.failure, ...expiry };
    return secretJson(body, { status: 201 });
  }
  const isSent = mail === "sent";
  const body = { email, ...content, email_sent: isSent, ...expiry, ...(!isSent && { invite_link: link }) };
  return secretJson(body, { status: 201 });
}

/** An existing account accepts without a password, and some clients then send no body at all. */
async function readPassword(request: ApiRequest<{ readonly password: string | undefined }>): Promise<string> {
  try {
    return (await request.body()).password ?? "";
  } catch {
    return "";
  }
}
