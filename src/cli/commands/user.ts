import type { CreatedInvite } from "../../client/wire.ts";
import { addressFlag, type CliContext, command, jsonFlag } from "../command.ts";
import { asPerson } from "../connect.ts";
import { formatTime, note, printable, printJson, printTable, statusStyle, success, warn } from "../output.ts";
import { instanceRoles, parseVaultGrants } from "../roles.ts";

const list = command({
  meta: { name: "list", description: "List the people of the server" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.listUsers());
    if (args.json) return printJson(context.terminal, answer);
    const users = answer.users ?? [];
    // Only owners are told who is in which vault.
    const hasVaults = users.some((user) => user.vaults !== undefined);
    printTable(context.terminal, {
      head: hasVaults ? ["EMAIL", "ROLE", "VAULTS", "CREATED"] : ["EMAIL", "ROLE", "CREATED"],
      rows: users.map((user) => {
        const vaults = (user.vaults ?? []).map((grant) => `${grant.vault_name}:${grant.vault_role}`).join(", ") || "-";
        const created = formatTime(user.created_at);
        return hasVaults ? [user.email, user.role, vaults, created] : [user.email, user.role, created];
      }),
      empty: "There are no users.",
    });
  },
});

const inviteList = command({
  meta: { name: "list", description: "List invitations, newest first" },
  args: {
    status: {
      type: "string",
      options: ["pending", "accepted", "expired", "revoked"],
      description: "Only those in this state",
    },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.listInvites(args.status));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["TOKEN", "EMAIL", "ROLE", "STATUS", "VAULTS", "INVITED BY", "CREATED", "EXPIRES"],
      rows: (answer.invites ?? []).map((invite) => [
        invite.token_suffix ? `…${invite.token_suffix}` : "-",
        invite.email,
        invite.role,
        invite.status,
        (invite.vaults ?? []).map((grant) => `${grant.vault_name}:${grant.vault_role}`).join(", ") || "-",
        invite.created_by_name ?? invite.created_by,
        formatTime(invite.created_at),
        formatTime(invite.expires_at),
      ]),
      styleOf: statusStyle,
      empty: "There are no invitations.",
    });
  },
});

const tokenSuffix = {
  type: "positional",
  description: "The invitation's link, its token, or the last eight characters of it",
} as const;

/** The token of a link, also where it was copied from a list, with the mark of what was left out. */
function tokenIn(text: string): string {
  return text.replace(/^.*\//, "").replace(/^(…|\.{3})/, "");
}

function showInvite({ terminal }: CliContext, answer: CreatedInvite): void {
  success(terminal, `${answer.email} is invited, until ${formatTime(answer.expires_at)}`);
  if (answer.email_error) warn(terminal, `the mail could not be sent: ${answer.email_error}`);
  if (answer.invite_link) {
    note(terminal, "No e-mail was sent. Pass this link on; it cannot be shown again:");
    terminal.out(`${printable(answer.invite_link)}\n`);
  } else {
    note(terminal, "The link was sent by e-mail.");
  }
}

const inviteRevoke = command({
  meta: { name: "revoke", description: "Take an invitation back" },
  args: { token_suffix: tokenSuffix },
  async run({ args, context }) {
    await asPerson(context, {}, (client) => client.revokeInvite(tokenIn(args.token_suffix)));
    success(context.terminal, "Invitation revoked");
  },
});

const inviteResend = command({
  meta: { name: "resend", description: "Replace an open invitation by a new one for the same person" },
  args: { token_suffix: tokenSuffix, json: jsonFlag },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.resendInvite(tokenIn(args.token_suffix)));
    if (args.json) return printJson(context.terminal, answer);
    showInvite(context, answer);
  },
});

const invite = command({
  meta: {
    name: "invite",
    description: "Invite a person",
    examples: ["agent-vault user invite ann@example.com --vault billing:admin"],
  },
  args: {
    email: { type: "positional", description: "E-mail address to invite" },
    role: { type: "string", options: instanceRoles, shownDefault: "member", description: "Role on the server" },
    vault: {
      type: "string",
      repeatable: true,
      completes: "vault",
      description: "Vault to let them into, NAME or NAME:ROLE; the role is member when absent",
    },
    address: addressFlag,
    json: jsonFlag,
  },
  subCommands: { list: async () => inviteList, revoke: async () => inviteRevoke, resend: async () => inviteResend },
  async run({ args, context }) {
    const vaults = parseVaultGrants(args.vault, { roles: ["member", "admin"], fallback: "member" });
    const role = args.role === undefined || args.role === "member" ? {} : { role: args.role };
    const answer = await asPerson(context, { address: args.address }, (client) =>
      client.inviteUser({ email: args.email, ...role, ...(vaults.length > 0 ? { vaults } : {}) }),
    );
    if (args.json) return printJson(context.terminal, answer);
    showInvite(context, answer);
  },
});

export const userCommand = command({
  meta: { name: "user", group: "Account", description: "People and invitations" },
  inherited: { address: addressFlag },
  subCommands: { list: async () => list, invite: async () => invite },
});
