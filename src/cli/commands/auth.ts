import type { Client } from "../../client/client.ts";
import { Forbidden, Unauthenticated } from "../../errors.ts";
import { type CliContext, command, jsonFlag } from "../command.ts";
import { askNewPassword, checkNewPassword, readLines } from "../confirm.ts";
import { anonymousClient, asPerson, clientOf, deviceLabel, requirePerson } from "../connect.ts";
import { forgetLogin, saveLogin } from "../local-state.ts";
import { formatTime, note, printJson, printTable, success, warn } from "../output.ts";
import { deviceLabelFlag, emailFlag, readEmail, resolveServer, serverFlag } from "./auth-flags.ts";
import { resendCommand, resetPasswordCommand } from "./auth-reset.ts";

const passwordStdinFlag = {
  type: "boolean",
  description: "Read the password from the first line of standard input",
} as const;
const register = command({
  meta: {
    name: "register",
    description: "Create an account; the first one owns the server",
    environment: { AGENT_VAULT_SETUP_SECRET: "Setup secret, for the first account of a server that others can reach" },
    examples: [
      "agent-vault auth register",
      'echo "$PASSWORD" | agent-vault auth register --email you@example.com --password-stdin',
    ],
  },
  args: { address: serverFlag, email: emailFlag, "password-stdin": passwordStdinFlag, "device-label": deviceLabelFlag },
  async run({ args, context }) {
    const address = await resolveServer(context, args.address);
    const client = anonymousClient(address);
    const email = await readEmail(context, args);
    const password = await readNewPassword(context, args["password-stdin"]);
    const label = args["device-label"] ?? deviceLabel();
    const answer = await registerWith(context, client, { email, password, device_label: label });
    if (answer.token) {
      await saveLogin(context, { token: answer.token, address, email, device_label: label });
      success(context.terminal, `Registered and logged in as ${email}, at ${address}`);
      return;
    }
    const where = answer.email_sent
      ? `A code was sent to ${email}`
      : "The code is in the server's log: ask its operator";
    if (!context.terminal.isInteractive || args["password-stdin"]) {
      note(context.terminal, `${where}.\nNext: agent-vault auth verify --email ${email} --code CODE`);
      return;
    }
    note(context.terminal, `${where}.`);
    const code = (await context.terminal.ask("Code: ", "agent-vault auth verify")).trim();
    await verifyAndSave(context, client, { email, code, label });
  },
});

/** The first account of a server that others can reach takes a secret, which no argument should show. */
async function registerWith(
  context: CliContext,
  client: Client,
  account: { readonly email: string; readonly password: string; readonly device_label: string },
) {
  const given = context.environment.AGENT_VAULT_SETUP_SECRET;
  try {
    return await client.register({ ...account, ...(given ? { setup_secret: given } : {}) });
  } catch (error) {
    const isAsked = error instanceof Forbidden && error.code === "setup_secret_required";
    if (!isAsked || given || !context.terminal.isInteractive) throw error;
    note(context.terminal, `${error.message}.`);
    const secret = await context.terminal.askHidden("Setup secret: ", "AGENT_VAULT_SETUP_SECRET");
    return client.register({ ...account, setup_secret: secret.trim() });
  }
}

async function readNewPassword(context: CliContext, isPiped: boolean): Promise<string> {
  if (!isPiped) return askNewPassword(context);
  const [password = ""] = await readLines(context, ["the password"]);
  checkNewPassword(password);
  return password;
}

async function verifyAndSave(
  context: CliContext,
  client: Client,
  { email, code, label }: { email: string; code: string; label: string },
) {
  const answer = await client.verify({ email, code, device_label: label });
  if (answer.token)
    await saveLogin(context, { token: answer.token, address: client.address, email, device_label: label });
  success(context.terminal, answer.token ? `Verified and logged in as ${email}` : `${email} is verified`);
}

export const verifyCommand = command({
  meta: { name: "verify", description: "Finish a registration with the code that was sent" },
  args: {
    address: serverFlag,
    email: emailFlag,
    code: { type: "string", description: "The six-digit code" },
    "device-label": deviceLabelFlag,
  },
  async run({ args, context }) {
    const email = await readEmail(context, { email: args.email, "password-stdin": false });
    const code = args.code ?? (await context.terminal.ask("Code: ", "--code CODE")).trim();
    const client = anonymousClient(await resolveServer(context, args.address));
    await verifyAndSave(context, client, { email, code, label: args["device-label"] ?? deviceLabel() });
  },
});

const login = command({
  meta: { name: "login", description: "Log in to a server" },
  args: { address: serverFlag, email: emailFlag, "password-stdin": passwordStdinFlag, "device-label": deviceLabelFlag },
  async run({ args, context }) {
    const address = await resolveServer(context, args.address);
    const client = anonymousClient(address);
    const email = await readEmail(context, args);
    const password = args["password-stdin"]
      ? ((await readLines(context, ["the password"]))[0] ?? "")
      : await context.terminal.askHidden("Password: ", "--password-stdin");
    const label = args["device-label"] ?? deviceLabel();
    const { token } = await client.login({ email, password, device_label: label }).catch((error: unknown) => {
      if (!(error instanceof Unauthenticated)) throw error;
      throw new Unauthenticated(
        "bad_credentials",
        "Invalid e-mail or password, or an account that is not verified yet",
        { cause: error },
      );
    });
    await saveLogin(context, { token, address, email, device_label: label });
    success(context.terminal, `Logged in as ${email}, at ${address}`);
  },
});

const logout = command({
  meta: { name: "logout", description: "End the login on the server and forget it here" },
  async run({ context }) {
    const person = await requirePerson(context);
    try {
      await clientOf(person).logout();
    } catch (error) {
      warn(context.terminal, `the server could not end the login: ${error instanceof Error ? error.message : error}`);
    }
    await forgetLogin(context);
    success(context.terminal, "Logged out");
  },
});

const list = command({
  meta: { name: "list", description: "List where you are logged in" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.listLogins());
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["ID", "DEVICE", "LAST IP", "LAST USED", "EXPIRES", "CURRENT"],
      rows: (answer.sessions ?? []).map((session) => [
        session.id,
        session.device_label ?? "-",
        session.last_ip ?? "-",
        formatTime(session.last_used_at),
        formatTime(session.expires_at),
        session.current ? "✓" : "",
      ]),
      empty: "There are no logins.",
    });
  },
});

const revoke = command({
  meta: { name: "revoke", description: "End one of your logins" },
  args: { id: { type: "positional", description: "ID from auth sessions list" } },
  async run({ args, context }) {
    const { current } = await asPerson(context, {}, (client) => client.revokeLogin(args.id));
    if (current) await forgetLogin(context);
    note(context.terminal, current ? "That was this login: you are logged out." : `Login ${args.id} is revoked.`);
  },
});

const sessions = command({
  meta: { name: "sessions", description: "Show and end your logins" },
  subCommands: { list: async () => list, revoke: async () => revoke },
});

export const authCommand = command({
  meta: { name: "auth", group: "Account", description: "Register, log in and out" },
  subCommands: {
    register: async () => register,
    verify: async () => verifyCommand,
    login: async () => login,
    logout: async () => logout,
    "reset-password": async () => resetPasswordCommand,
    resend: async () => resendCommand,
    sessions: async () => sessions,
  },
});
