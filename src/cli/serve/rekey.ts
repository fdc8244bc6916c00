/** Changes how the data keys are protected, while no server runs. */
import { existsSync } from "node:fs";
import { parseServerConfig } from "../../config.ts";
import { Conflict, InvalidInput, NotFound } from "../../errors.ts";
import { silentLogger } from "../../log.ts";
import { readPidFile } from "../../runtime/files.ts";
import type { CliContext } from "../command.ts";
import { readLines } from "../confirm.ts";
import { success, warn } from "../output.ts";

export interface RekeyOptions {
  readonly isForced: boolean;
  readonly isPiped: boolean;
}

const leastLength = 8;

/** The inside of the server, loaded when one of these commands runs. */
type Unlock = typeof import("../../domain/unlock.ts");
interface Local {
  readonly database: Parameters<Unlock["setMasterPassword"]>[0];
  readonly unlock: Unlock;
  readonly secretOf: typeof import("../../server.ts").secretOf;
}

export async function setMasterPassword(context: CliContext, options: RekeyOptions): Promise<void> {
  await withDatabase(context, options, async ({ database, unlock, secretOf }) => {
    if ((await unlock.findProtectionMode(database)) === "password") {
      throw new Conflict("master_password_already_set", "There is a master password already", {
        hint: "agent-vault master-password change",
      });
    }
    const [next] = options.isPiped ? await pipedPasswords(context, ["the new password"]) : [await askNew(context)];
    await unlock.setMasterPassword(database, secretOf(checked(next)));
  });
  success(context.terminal, "Master password set; the server needs it at its next start");
}

export async function changeMasterPassword(context: CliContext, options: RekeyOptions): Promise<void> {
  await withDatabase(context, options, async ({ database, unlock, secretOf }) => {
    await requireProtected({ database, unlock });
    const [current, next] = options.isPiped
      ? await pipedPasswords(context, ["the current password", "the new one"])
      : [await askCurrent(context), await askNew(context)];
    await unlock.changeMasterPassword(database, { current: secretOf(current ?? ""), next: secretOf(checked(next)) });
  });
  success(context.terminal, "Master password changed; the server needs the new one at its next start");
}

export async function removeMasterPassword(context: CliContext, options: RekeyOptions): Promise<void> {
  await withDatabase(context, options, async ({ database, unlock, secretOf }) => {
    await requireProtected({ database, unlock });
    const [current] = options.isPiped
      ? await pipedPasswords(context, ["the current password"])
      : [await askCurrent(context)];
    await unlock.removeMasterPassword(database, secretOf(current ?? ""));
  });
  success(context.terminal, "Master password removed; the permissions of the database's files are its protection now");
}

async function requireProtected({ database, unlock }: Pick<Local, "database" | "unlock">): Promise<void> {
  if ((await unlock.findProtectionMode(database)) === "password") return;
  throw new Conflict("no_master_password", "There is no master password", { hint: "agent-vault master-password set" });
}

async function withDatabase(
  context: CliContext,
  { isForced }: RekeyOptions,
  work: (local: Local) => Promise<void>,
): Promise<void> {
  const config = parseServerConfig({}, context.environment);
  if (config.database.kind === "postgres") {
    if (!isForced) {
      throw new Conflict("shared_database", "DATABASE_URL is set: other servers may share this database", {
        hint: "stop all of them, give each the new password, and add --force",
      });
    }
    warn(context.terminal, "every server that shares this database must be stopped, and needs the new password");
  }
  const found = await readPidFile(config.dataDirectory);
  if (found.state === "running") {
    throw new Conflict("server_running", `The server is running (PID ${found.pid})`, {
      hint: "agent-vault server stop",
    });
  }
  if (config.database.kind === "sqlite" && !existsSync(config.database.path)) {
    throw new NotFound("no_database", `There is no database at ${config.database.path}`, {
      hint: "agent-vault server",
    });
  }
  const { withLocalDatabase, secretOf } = await import("../../server.ts");
  const unlock = await import("../../domain/unlock.ts");
  await withLocalDatabase(config, silentLogger, (database) => work({ database, unlock, secretOf }));
}

function pipedPasswords(context: CliContext, names: readonly string[]): Promise<readonly string[]> {
  return readLines(context, names);
}

function askCurrent({ terminal }: CliContext): Promise<string> {
  return terminal.askHidden("Current master password: ", "--password-stdin");
}

async function askNew({ terminal }: CliContext): Promise<string> {
  const password = checked(await terminal.askHidden("New master password: ", "--password-stdin"));
  const again = await terminal.askHidden("Once more: ", "--password-stdin");
  if (again !== password) throw new InvalidInput("passwords_differ", "The two passwords differ");
  return password;
}

function checked(password: string | undefined): string {
  if (Buffer.byteLength(password ?? "") >= leastLength) return password ?? "";
  throw new InvalidInput("password_too_short", `A master password needs at least ${leastLength} bytes`);
}
