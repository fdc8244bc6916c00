/** Destroys the server of this home: its database, keys and certificates, and the login. */
import { lstat, open, readdir, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { Conflict, Forbidden, InvalidInput, NotFound } from "../../errors.ts";
import { dataDirectoryOf, findServerAddress, readPidFile } from "../../runtime/files.ts";
import { isOurServer } from "../../runtime/process.ts";
import type { CliContext } from "../command.ts";
import { confirmPhrase } from "../confirm.ts";
import { asPerson, requirePerson } from "../connect.ts";
import { note, success } from "../output.ts";
import { stopServer } from "./stop.ts";

/**
 * Only the owner of the very server that runs from this home may do it. A login at another server proves nothing about
 * the data here, and wiping here would leave that server as it is.
 * @throws {Conflict} `shared_database`, `other_server`. @throws {Forbidden} `owner_required`.
 */
export async function resetServer(context: CliContext, { isSure }: { readonly isSure: boolean }): Promise<void> {
  if (context.environment.DATABASE_URL) {
    throw new Conflict("shared_database", "DATABASE_URL is set: the data is in PostgreSQL, which this does not touch", {
      hint: "drop that database yourself, or unset DATABASE_URL to reset what is in this home",
    });
  }
  const directory = dataDirectoryOf(context.home);
  const server = await requireLocalServer(directory);
  const { login } = await requirePerson(context);
  if (!isSameServer(login.address, server)) {
    throw new Conflict(
      "other_server",
      `You are logged in at ${login.address}, and the server of this home is ${server}`,
      {
        hint: `agent-vault auth login --address ${server}, or run this where that server runs`,
      },
    );
  }
  // Asked of the server here, whatever the login says: only it knows who owns this data.
  const { email, role } = await asPerson(context, { address: server }, (client) => client.profile());
  if (role !== "owner") {
    throw new Forbidden("owner_required", `Only an owner may reset a server, and ${email} is ${role}`);
  }
  const question = `This destroys everything in ${directory}: vaults, credentials, accounts, keys and certificates.`;
  if (!(await confirmPhrase(context, { question, phrase: "reset", isSure }))) return;
  await stopServer(context);
  const files = await wipe(await realpath(directory));
  success(context.terminal, `Reset: ${files} files overwritten and removed from ${directory}`);
  note(context.terminal, "Next: agent-vault server. Copies elsewhere, such as backups, are yours to remove.");
}

async function requireLocalServer(directory: string): Promise<string> {
  const found = await readPidFile(directory);
  if (found.state !== "running" || isOurServer(found.pid) === false) {
    throw new NotFound("server_not_running", "No server of this home is running, so nobody can be asked who owns it", {
      hint: "agent-vault server -d",
    });
  }
  const address = await findServerAddress(directory);
  if (address) return address;
  throw new InvalidInput("server_address_unknown", "The server of this home does not say where it listens", {
    hint: "agent-vault server stop, agent-vault server -d, then the same again",
  });
}

/** The same port on this machine, however it is spelt. */
function isSameServer(login: string, server: string): boolean {
  const [a, b] = [new URL(login), new URL(server)];
  const isHere = ({ hostname }: URL) => ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  return a.origin === b.origin || (a.protocol === b.protocol && a.port === b.port && isHere(a) && isHere(b));
}

/**
 * Overwrites each file with zeros before it goes; returns how many there were. Links are removed, not followed.
 * Where the file system keeps old blocks (copy on write, flash) no program can promise more.
 */
async function wipe(directory: string): Promise<number> {
  let count = 0;
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const entry = await lstat(path);
    if (entry.isDirectory()) count += await wipe(path);
    else {
      if (entry.isFile()) await overwrite(path, entry.size);
      count++;
    }
    await rm(path, { recursive: true, force: true });
  }
  try {
    await rm(directory, { recursive: true });
  } catch (error) {
    // The mount point of a volume stays; what was in it is gone.
    if (!(error instanceof Error && "code" in error && error.code === "EBUSY")) throw error;
  }
  return count;
}

async function overwrite(path: string, size: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    const zeros = new Uint8Array(64 * 1024);
    for (let at = 0; at < size; at += zeros.length) {
      await file.write(zeros, 0, Math.min(zeros.length, size - at), at);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}
