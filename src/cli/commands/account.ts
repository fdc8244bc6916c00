import { addressFlag, type CliContext, command, jsonFlag, yesFlag } from "../command.ts";
import { askNewPassword, checkNewPassword, confirmPhrase, readLines } from "../confirm.ts";
import { asPerson, requirePerson } from "../connect.ts";
import { forgetLogin, saveLogin } from "../local-state.ts";
import { formatTime, printFacts, printJson, success } from "../output.ts";

const whoami = command({
  meta: { name: "whoami", description: "Show who is logged in, and where" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const { address } = await requirePerson(context);
    const profile = await asPerson(context, {}, (client) => client.profile());
    if (args.json) return printJson(context.terminal, { ...profile, server: address });
    const vaults = (profile.vaults ?? []).map((vault) => (typeof vault === "string" ? vault : vault.vault_name));
    printFacts(context.terminal, [
      ["Email", profile.email],
      ["Role", profile.role],
      ["Vaults", vaults.join(", ") || "(none)"],
      ["Server", address],
      ["Created", formatTime(profile.created_at)],
    ]);
  },
});

const changePassword = command({
  meta: { name: "change-password", description: "Change your password; all other logins end" },
  args: { "password-stdin": { type: "boolean", description: "Read the current, then the new password, one per line" } },
  async run({ args, context }) {
    const { login } = await requirePerson(context);
    const [current, next] = await readPasswords(context, args["password-stdin"]);
    const { token } = await asPerson(context, {}, (client) =>
      client.changePassword({ current_password: current, new_password: next }),
    );
    await saveLogin(context, { ...login, token });
    success(context.terminal, "Password changed; every other login has ended");
  },
});

async function readPasswords(context: CliContext, isPiped: boolean): Promise<readonly [string, string]> {
  if (isPiped) {
    const [current = "", next = ""] = await readLines(context, ["the current password", "the new one"]);
    checkNewPassword(next);
    return [current, next];
  }
  const current = await context.terminal.askHidden("Current password: ", "--password-stdin");
  return [current, await askNewPassword(context, "New password")];
}

const remove = command({
  meta: { name: "delete", description: "Delete your account for good" },
  args: { yes: yesFlag },
  async run({ args, context }) {
    const { email } = await asPerson(context, {}, (client) => client.profile());
    const question = `This deletes the account ${email}.`;
    if (!(await confirmPhrase(context, { question, phrase: email, isSure: args.yes }))) return;
    await asPerson(context, {}, (client) => client.deleteAccount());
    await forgetLogin(context);
    success(context.terminal, `Account ${email} deleted`);
  },
});

export const accountCommand = command({
  meta: { name: "account", group: "Account", description: "Your own account" },
  inherited: { address: addressFlag },
  subCommands: {
    whoami: async () => whoami,
    "change-password": async () => changePassword,
    delete: async () => remove,
  },
});
