/** Contracts of people and their invitations (spec of accounts, 6.4 and 6.5). */
import { body, needed, string } from "../openapi/body.ts";
import { answer, authed, open, pageQuery, param } from "../openapi/contract.ts";
import { choice, constant, flag, listOf, maybe, named, oneOf, shape, text, time, uuid } from "../openapi/schema.ts";
import { email, grant, instanceRole, message, newPassword, nextCursor, userVaultRole, vaultsField } from "./common.ts";

const owner = { area: "Users", who: "owner" } as const;
const member = { area: "Users", who: "instance-member" } as const;
const inviteErrors = ["invite_not_found", "invite_forbidden", "ambiguous_invite"] as const;

const user = named(
  "User",
  shape({
    email,
    role: instanceRole,
    vaults: maybe(listOf(grant, "For owners")),
    created_at: time(),
  }),
);

export const listUsers = authed({
  ...member,
  method: "GET",
  path: "/v1/users",
  operation: "listUsers",
  does: "List the people of the instance",
  query: pageQuery,
  answers: { 200: answer(shape({ users: listOf(user), next_cursor: nextCursor })) },
});

export const getUser = authed({
  area: "Users",
  who: "actor",
  method: "GET",
  path: "/v1/admin/users/{email}",
  operation: "getUser",
  does: "Show a person",
  notes: "`me` is oneself, and then `vaults` holds names only. Everybody else is shown to owners.",
  params: { email: text("Address of the person, or `me`") },
  answers: {
    200: answer(
      shape({
        email,
        role: instanceRole,
        vaults: listOf(oneOf(text("Name of a vault"), grant)),
        created_at: time(),
      }),
    ),
  },
  errors: ["no_own_record", "member_required", "owner_required", "user_not_found"],
});

export const removeUser = authed({
  ...owner,
  method: "DELETE",
  path: "/v1/admin/users/{email}",
  operation: "removeUser",
  does: "Remove a person",
  notes: "Ends the logins and vault tokens that came from them. `agents` names the agents that they had created.",
  answers: {
    200: answer(shape({ status: constant("removed"), email: text(), agents: maybe(listOf(text())) })),
  },
  errors: ["user_not_found", "last_owner"],
});

export const setUserRole = authed({
  ...owner,
  method: "POST",
  path: "/v1/admin/users/{email}/role",
  operation: "setUserRole",
  does: "Give a person another role in the instance",
  body: body({ role: needed(string(instanceRole)) }),
  answers: { 200: answer(shape({ email: text(), role: instanceRole })) },
  errors: ["invalid_role", "user_not_found", "last_owner"],
});

const sentInvite = shape({
  email,
  role: maybe(instanceRole),
  vaults: maybe(listOf(grant)),
  email_sent: flag("The link went out by mail"),
  email_error: maybe(text("Why it did not")),
  expires_at: time(),
  invite_link: maybe(text("For the person, where no mail was sent; shown only now", { format: "uri" })),
});

export const inviteUser = authed({
  ...member,
  method: "POST",
  path: "/v1/users/invites",
  operation: "inviteUser",
  does: "Invite a person",
  body: body({ email: needed(string(email)), role: string(instanceRole), vaults: vaultsField(userVaultRole) }),
  answers: { 201: answer(sentInvite, "Invited") },
  errors: [
    "invalid_email",
    "invalid_role",
    "owner_required",
    "user_exists",
    "invite_pending",
    "domain_not_allowed",
    "too_many_invites",
    "too_many_vaults",
    "vault_not_found",
    "vault_admin_required",
    "duplicate_vault",
  ],
});

export const listUserInvites = authed({
  ...member,
  method: "GET",
  path: "/v1/users/invites",
  operation: "listUserInvites",
  does: "List invitations of people, the newest first",
  notes: "Owners see all, others those that they made and those into vaults that they administer.",
  query: { ...pageQuery, status: param(text("`pending`, `accepted`, `revoked` or `expired`")) },
  answers: {
    200: answer(
      shape({
        invites: listOf(
          named(
            "UserInvite",
            shape({
              email,
              role: instanceRole,
              status: choice(["pending", "accepted", "revoked", "expired"]),
              id: uuid("What revoke and reinvite take"),
              token: text("The same as `id`, for clients that look for it here; it opens nothing"),
              token_suffix: text("The end of the link's token"),
              created_by: text("Id of whoever invited"),
              created_by_name: maybe(text()),
              vaults: listOf(grant),
              expires_at: time(),
              created_at: time(),
            }),
          ),
        ),
        next_cursor: nextCursor,
      }),
    ),
  },
});

const reference = text("The id of the invitation, its token, or the end of it");

export const revokeUserInvite = authed({
  ...member,
  method: "DELETE",
  path: "/v1/users/invites/{token}",
  operation: "revokeUserInvite",
  does: "Revoke an open invitation",
  params: { token: reference },
  answers: { 200: answer(message) },
  errors: inviteErrors,
});

export const reinviteUser = authed({
  ...member,
  method: "POST",
  path: "/v1/users/invites/{token}/reinvite",
  operation: "reinviteUser",
  does: "Replace an open invitation by a new one",
  notes: "Only who could give everything that it holds may do so.",
  params: { token: reference },
  answers: { 201: answer(sentInvite, "Invited anew") },
  errors: [
    ...inviteErrors,
    "invite_not_pending",
    "owner_required",
    "vault_not_found",
    "vault_admin_required",
    "domain_not_allowed",
  ],
});

const byLink = { area: "Users", tier: "auth-token" } as const;

export const showUserInvite = open({
  ...byLink,
  method: "GET",
  path: "/v1/users/invites/{token}/details",
  operation: "showUserInvite",
  does: "Show an invitation to whoever has its link",
  params: { token: text("The token of the link") },
  answers: {
    200: answer(
      oneOf(
        shape({ email, role: instanceRole, vaults: listOf(grant), needs_account: flag("A password has to be chosen") }),
        shape({
          error: constant(true),
          error_title: choice(["Already Accepted", "Invite Revoked", "Invite Expired"]),
          error_message: text(),
        }),
      ),
      "The invitation, or why it is over",
    ),
  },
  errors: ["invite_not_found"],
});

export const acceptUserInvite = open({
  ...byLink,
  method: "POST",
  path: "/v1/users/invites/{token}/accept",
  operation: "acceptUserInvite",
  does: "Accept an invitation",
  params: { token: text("The token of the link") },
  body: body({ password: string(newPassword) }),
  answers: { 200: answer(shape({ email, message: text() }), "Accepted; sign in to continue") },
  errors: [
    "invite_not_found",
    "invite_accepted",
    "invite_revoked",
    "invite_expired",
    "domain_not_allowed",
    "invalid_password",
    "account_changed",
    "busy",
  ],
});
