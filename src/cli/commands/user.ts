import { addressFlag, command, jsonFlag } from "../command.ts";
import { asPerson } from "../connect.ts";
import { formatTime, note, printable, printJson, printTable, statusStyle, success } from "../output.ts";
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
      head: ["EMAIL", "ROLE", "STATUS", "VAULTS", "INVITED BY", "CREATED", "EXPIRES"],
      rows: (answer.invites ?? []).map((invite) => [
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

const inviteRevoke = command({
  meta: { name: "revoke", description: "Take an invitation back" },
  args: { token_suffix: { type: "positional", description: "The token at the end of the invitation's link" } },
  async run({ args, context }) {
    const token = args.token_suffix.replace(/^.*\//, "");
    await asPerson(context, {}, (client) => client.revokeInvite(token));
    success(context.terminal, "Invitation revoked");
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
  subCommands: { list: async () => inviteList, revoke: async () => inviteRevoke },
  async run({ args, context }) {
    const vaults = parseVaultGrants(args.vault, { roles: ["member", "admin"], fallback: "member" });
    const role = args.role === undefined || args.role === "member" ? {} : { role: args.role };
    const answer = await asPerson(context, { address: args.address }, (client) =>
      client.inviteUser({ email: args.email, ...role, ...(vaults.length > 0 ? { vaults } : {}) }),
    );
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `${answer.email} is invited, until ${formatTime(answer.expires_at)}`);
    if (!answer.invite_link) return note(context.terminal, "The link was sent by e-mail.");
    note(context.terminal, "No e-mail was sent. Pass this link on; it cannot be shown again:");
    context.terminal.out(`${printable(answer.invite_link)}\n`);
  },
});

export const userCommand = command({
  meta: { name: "user", group: "Account", description: "People and invitations" },
  inherited: { address: addressFlag },
  subCommands: { list: async () => list, invite: async () => invite },
});
