/** Log in, register and verify, with what is asked on the way: shared by `auth` and the guided set-up. */
import type { Client } from "../client/client.ts";
import { Forbidden, InvalidInput, Unauthenticated } from "../errors.ts";
import type { CliContext } from "./command.ts";
import { deviceLabel } from "./connect.ts";
import { type Login, saveLogin } from "./local-state.ts";
import { note } from "./output.ts";

export interface SignIn {
  readonly email: string;
  readonly password: string;
  readonly label?: string | undefined;
}

/** Saves the login. @throws {Unauthenticated} `bad_credentials`. */
export async function logIn(context: CliContext, client: Client, { email, password, label }: SignIn): Promise<Login> {
  const device = label ?? deviceLabel();
  const { token } = await client.login({ email, password, device_label: device }).catch((error: unknown) => {
    if (!(error instanceof Unauthenticated)) throw error;
    throw new Unauthenticated("bad_credentials", "Invalid e-mail or password, or an account that is not verified yet", {
      hint: "agent-vault auth verify, for a new account",
      cause: error,
    });
  });
  return remember(context, { token, address: client.address, email, device_label: device });
}

/** What became of a registration: a login, or a code that somebody has to fetch first. */
export type Registration =
  | { readonly state: "logged-in"; readonly login: Login }
  | { readonly state: "unverified"; readonly whereTheCodeIs: string };

/**
 * Saves the login when there is one. The first account of a server that others can reach takes a secret, which no
 * argument should show: it comes from the caller, from AGENT_VAULT_SETUP_SECRET, or is asked for.
 */
export async function register(
  context: CliContext,
  client: Client,
  { email, password, label, setupSecret }: SignIn & { readonly setupSecret?: string | undefined },
): Promise<Registration> {
  const device = label ?? deviceLabel();
  const given = setupSecret ?? context.environment.AGENT_VAULT_SETUP_SECRET;
  const account = { email, password, device_label: device };
  const answer = await client
    .register({ ...account, ...(given ? { setup_secret: given } : {}) })
    .catch(async (error: unknown) => {
      const isAsked = error instanceof Forbidden && error.code === "setup_secret_required";
      if (!isAsked || given || !context.terminal.isInteractive) throw error;
      note(context.terminal, `${error.message}.`);
      const secret = await context.terminal.askHidden("Setup secret: ", "AGENT_VAULT_SETUP_SECRET");
      return client.register({ ...account, setup_secret: secret.trim() });
    });
  if (!answer.token) {
    const whereTheCodeIs = answer.email_sent
      ? `A code was sent to ${email}`
      : "The code is in the server's log: ask its operator";
    return { state: "unverified", whereTheCodeIs };
  }
  const login = { token: answer.token, address: client.address, email, device_label: device };
  return { state: "logged-in", login: await remember(context, login) };
}

/** Saves the login, unless the server wants the password first: then undefined. */
export async function verify(
  context: CliContext,
  client: Client,
  { email, code, label }: { readonly email: string; readonly code: string; readonly label?: string | undefined },
): Promise<Login | undefined> {
  const device = label ?? deviceLabel();
  const { token } = await client.verify({ email, code, device_label: device });
  return token ? remember(context, { token, address: client.address, email, device_label: device }) : undefined;
}

/** @throws {InvalidInput} `bad_email`. */
export function checkEmail(text: string): string {
  const email = text.trim();
  if (/^[^\s@]+@[^\s@]+$/.test(email)) return email;
  throw new InvalidInput("bad_email", `"${email}" is not an e-mail address`, { hint: "--email you@example.com" });
}

async function remember(context: CliContext, login: Login): Promise<Login> {
  await saveLogin(context, login);
  return login;
}
