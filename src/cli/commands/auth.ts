import type { Client } from "../../client/client.ts";
import { AppError } from "../../errors.ts";
import { addressFlag, type CliContext, command, jsonFlag } from "../command.ts";
import { askNewPassword, checkNewPassword, readLines } from "../confirm.ts";
import { anonymousClient, asPerson, asSavedPerson, localAddress } from "../connect.ts";
import { askServer } from "../guided-setup.ts";
import { findLogin, forgetLogin } from "../local-state.ts";
import { formatTime, note, printJson, printTable, success, warn } from "../output.ts";
import { logIn, register, verify } from "../sign-in.ts";
import { deviceLabelFlag, emailFlag, readEmail, resolveServer, serverFlag } from "./auth-flags.ts";
import { resendCommand, resetPasswordCommand } from "./auth-reset.ts";

const passwordStdinFlag = {
  type: "boolean",
  description: "Read the password from the first line of standard input",
} as const;

const registerCommand = command({
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
    const registration = await register(context, client, { email, password, label: args["device-label"] });
    if (registration.state === "logged-in")
      return success(context.terminal, `Registered and logged in as ${email}, at ${address}`);
    const { whereTheCodeIs } = registration;
    if (!context.terminal.isInteractive || args["password-stdin"]) {
      const server = address === localAddress ? "" : ` --address ${address}`;
      return note(
        context.terminal,
        `${whereTheCodeIs}.\nNext: agent-vault auth verify --email ${email} --code CODE${server}`,
      );
    }
    note(context.terminal, `${whereTheCodeIs}.`);
    const code = (await context.terminal.ask("Code: ", "agent-vault auth verify")).trim();
    await verifyAndSay(context, client, { email, code, label: args["device-label"] });
  },
});

async function readNewPassword(context: CliContext, isPiped: boolean): Promise<string> {
  if (!isPiped) return askNewPassword(context);
  const [password = ""] = await readLines(context, ["the password"]);
  checkNewPassword(password);
  return password;
}

async function verifyAndSay(
  context: CliContext,
  client: Client,
  options: { readonly email: string; readonly code: string; readonly label: string | undefined },
) {
  const login = await verify(context, client, options);
  success(context.terminal, login ? `Verified and logged in as ${options.email}` : `${options.email} is verified`);
  if (!login) note(context.terminal, `Next: agent-vault auth login --email ${options.email}`);
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
    await verifyAndSay(context, client, { email, code, label: args["device-label"] });
  },
});

const loginCommand = command({
  meta: {
    name: "login",
    description: "Log in to a server",
    environment: { AGENT_VAULT_ADDR: "Address of the server when --address is absent" },
    examples: [
      "agent-vault auth login --address https://vault.example.com",
      'echo "$PASSWORD" | agent-vault auth login --email you@example.com --password-stdin',
    ],
  },
  args: { address: serverFlag, email: emailFlag, "password-stdin": passwordStdinFlag, "device-label": deviceLabelFlag },
  async run({ args, context }) {
    const canAsk = context.terminal.isInteractive && !args["password-stdin"];
    const address = canAsk ? await askServer(context) : await resolveServer(context, args.address);
    const client = anonymousClient(address);
    const email = await readEmail(context, args);
    const password = args["password-stdin"]
      ? ((await readLines(context, ["the password"]))[0] ?? "")
      : await context.terminal.askHidden("Password: ", "--password-stdin");
    await logIn(context, client, { email, password, label: args["device-label"] });
    success(context.terminal, `Logged in as ${email}, at ${address}`);
  },
});

const logout = command({
  meta: { name: "logout", description: "End the login on the server and forget it here" },
  async run({ context }) {
    try {
      if (!(await findLogin(context))) return note(context.terminal, "Nobody is logged in here.");
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "login_damaged") throw error;
      await forgetLogin(context);
      return warn(context.terminal, `${error.message}, so it was removed; it may live on the server until it expires`);
    }
    try {
      await asSavedPerson(context, (client) => client.logout());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      warn(context.terminal, `the server could not end the login, it may live until it expires: ${reason}`);
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
  inherited: { address: addressFlag },
  subCommands: {
    register: async () => registerCommand,
    verify: async () => verifyCommand,
    login: async () => loginCommand,
    logout: async () => logout,
    "reset-password": async () => resetPasswordCommand,
    resend: async () => resendCommand,
    sessions: async () => sessions,
  },
});
