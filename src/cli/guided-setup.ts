/** The way to a login for somebody at a terminal who has none: which server, then register or log in. */
import { Unauthenticated } from "../errors.ts";
import type { CliContext } from "./command.ts";
import { askNewPassword } from "./confirm.ts";
import { anonymousClient, localAddress, parseAddress, pick } from "./connect.ts";
import type { Login } from "./local-state.ts";
import { note } from "./output.ts";
import { checkEmail, logIn, register } from "./sign-in.ts";

const elsewhere = "Another server";
const logInChoice = "Log in";
const registerChoice = "Create an account";

/** Asks on standard error, so that what the command prints stays clean. @throws {AppError} when it leads nowhere. */
export async function guideToLogin(context: CliContext): Promise<Login> {
  const { terminal } = context;
  note(terminal, "Nobody is logged in here yet. (Ctrl-C leaves.)");
  const client = anonymousClient(await askServer(context));
  const { needs_first_user: isNew } = await client.status();
  if (isNew) note(terminal, `The server at ${client.address} is new. The account you make now owns it.`);
  const isRegistering =
    isNew || (await pick(context, "Account", [logInChoice, registerChoice], "agent-vault auth login")) !== logInChoice;
  const email = checkEmail(await terminal.ask("E-mail: ", "agent-vault auth login --email you@example.com"));
  if (!isRegistering) {
    const password = await terminal.askHidden("Password: ", "agent-vault auth login --password-stdin");
    return announce(context, await logIn(context, client, { email, password }));
  }
  const registration = await register(context, client, { email, password: await askNewPassword(context) });
  if (registration.state === "logged-in") return announce(context, registration.login);
  throw new Unauthenticated("not_verified", `${registration.whereTheCodeIs}; the account has to be verified first`, {
    hint: `agent-vault auth verify --email ${email} --address ${client.address}, then the same again`,
  });
}

/** Which server: the one of `--address` or the variable, or the one that is picked. */
export async function askServer(context: CliContext): Promise<string> {
  const { address, environment, terminal } = context;
  if (address !== undefined) return parseAddress(address, "--address");
  if (environment.AGENT_VAULT_ADDR) {
    const named = parseAddress(environment.AGENT_VAULT_ADDR, "AGENT_VAULT_ADDR");
    // Nobody should type a password without having seen where it goes.
    note(terminal, `Server: ${named} (AGENT_VAULT_ADDR)`);
    return named;
  }
  const here = `This machine (${localAddress})`;
  if ((await pick(context, "Server", [here, elsewhere], "--address URL")) === here) return localAddress;
  return parseAddress(await terminal.ask("Address: ", "--address https://vault.example.com"), "--address");
}

function announce({ terminal }: CliContext, login: Login): Login {
  note(terminal, `Logged in as ${login.email}, at ${login.address}.`);
  return login;
}
