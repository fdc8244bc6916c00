import { command } from "../command.ts";
import { askNewPassword, checkNewPassword, readLines } from "../confirm.ts";
import { anonymousClient, deviceLabel } from "../connect.ts";
import { saveLogin } from "../local-state.ts";
import { note, success } from "../output.ts";
import { deviceLabelFlag, emailFlag, readEmail, resolveServer, serverFlag } from "./auth-flags.ts";

/** Ways back in: a code by mail, or from the operator of a server without mail. */

export const resetPasswordCommand = command({
  meta: {
    name: "reset-password",
    description: "Choose a new password with a code; without --code one is sent first",
    examples: [
      "agent-vault auth reset-password --email you@example.com",
      'echo "$PASSWORD" | agent-vault auth reset-password --email you@example.com --code 123456 --password-stdin',
    ],
  },
  args: {
    address: serverFlag,
    email: emailFlag,
    code: { type: "string", description: "The six-digit code" },
    "password-stdin": { type: "boolean", description: "Read the new password from the first line of standard input" },
    "device-label": deviceLabelFlag,
  },
  async run({ args, context }) {
    const client = anonymousClient(await resolveServer(context, args.address));
    const email = await readEmail(context, args);
    if (args.code === undefined) {
      const { email_sent: isSent } = await client.forgotPassword({ email });
      note(context.terminal, isSent ? `If ${email} has an account, a code was sent.` : codeIsWithOperator);
      if (!context.terminal.isInteractive || args["password-stdin"]) {
        note(context.terminal, `Next: agent-vault auth reset-password --email ${email} --code CODE`);
        return;
      }
    }
    const code = args.code ?? (await context.terminal.ask("Code: ", "--code CODE")).trim();
    const password = args["password-stdin"]
      ? ((await readLines(context, ["the new password"]))[0] ?? "")
      : await askNewPassword(context, "New password");
    checkNewPassword(password);
    await client.resetPassword({ email, code, new_password: password });
    // The answer signs a browser in, by its cookie; the command line signs in by itself.
    const label = args["device-label"] ?? deviceLabel();
    const { token } = await client.login({ email, password, device_label: label });
    await saveLogin(context, { token, address: client.address, email, device_label: label });
    success(context.terminal, `Password changed, every other login has ended; logged in as ${email}`);
  },
});

const codeIsWithOperator = "If there is such an account, its code is on the server's output: ask its operator.";

export const resendCommand = command({
  meta: { name: "resend", description: "Send the code of an unfinished registration once more" },
  args: { address: serverFlag, email: emailFlag },
  async run({ args, context }) {
    const client = anonymousClient(await resolveServer(context, args.address));
    const email = await readEmail(context, { email: args.email, "password-stdin": false });
    const { email_sent: isSent } = await client.resendVerification({ email });
    note(context.terminal, isSent ? `If ${email} waits for one, a code was sent.` : codeIsWithOperator);
    note(context.terminal, `Next: agent-vault auth verify --email ${email} --code CODE`);
  },
});
