/** The owner's account of a new server, asked for where somebody sits at the terminal that starts it. */
import { messageOf } from "../../errors.ts";
import type { CliContext } from "../command.ts";
import { askNewPassword } from "../confirm.ts";
import { anonymousClient } from "../connect.ts";
import { note, success, warn } from "../output.ts";
import { checkEmail, register, type SignIn } from "../sign-in.ts";

/** Whoever starts the server at its terminal need not copy the setup secret of its output. */
export type FirstOwner = SignIn & { readonly setupSecret: string };

/** Undefined when the person would rather do it later. */
export async function askFirstOwner(context: CliContext): Promise<SignIn | undefined> {
  const { terminal } = context;
  note(terminal, "This server has no accounts yet. The first one owns it. Leave the e-mail empty to make it later.");
  for (;;) {
    const typed = await terminal.ask("E-mail of the owner: ", "agent-vault auth register");
    if (typed.trim() === "") return undefined;
    try {
      return { email: checkEmail(typed), password: await askNewPassword(context) };
    } catch (error) {
      warn(terminal, messageOf(error));
    }
  }
}

/** Registers the owner with the server that just started, and saves the login. It is there without one, too. */
export async function registerFirstOwner(context: CliContext, owner: FirstOwner, address: string): Promise<void> {
  try {
    await register(context, anonymousClient(address), owner);
    success(context.terminal, `Registered and logged in as ${owner.email}, the owner`);
  } catch (error) {
    warn(context.terminal, `the owner's account was not made: ${messageOf(error)}; try agent-vault auth register`);
  }
}
