/** Flags and questions that the commands of `auth` share. */
import { UsageError } from "../../errors.ts";
import type { CliContext } from "../command.ts";
import { localAddress, parseAddress, resolveAddress } from "../connect.ts";
import { checkEmail } from "../sign-in.ts";

export const emailFlag = { type: "string", description: "E-mail address of the account" } as const;
export const serverFlag = {
  type: "string",
  description: "Address of the server; AGENT_VAULT_ADDR is read when absent",
  shownDefault: localAddress,
} as const;
export const deviceLabelFlag = {
  type: "string",
  description: "Name of this login in the list of logins",
  shownDefault: "the host's name",
} as const;

interface Credentials {
  readonly email?: string | undefined;
  readonly "password-stdin": boolean;
}

/** The address of the flag, else asked for. @throws {UsageError} @throws {InvalidInput} */
export async function readEmail(
  context: CliContext,
  { email, "password-stdin": isPiped }: Credentials,
): Promise<string> {
  if (email === undefined && isPiped) {
    throw new UsageError("email_missing", "--password-stdin needs --email", { hint: "--email you@example.com" });
  }
  return checkEmail(email ?? (await context.terminal.ask("E-mail: ", "--email you@example.com")));
}

/** A new login does not follow an old one: `--address`, then the variable, then this machine. */
export async function resolveServer(context: CliContext, flag: string | undefined): Promise<string> {
  const isNamed = flag !== undefined || context.environment.AGENT_VAULT_ADDR;
  return isNamed ? resolveAddress(context, flag) : parseAddress(localAddress, "--address");
}
