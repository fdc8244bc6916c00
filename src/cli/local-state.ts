/** What the command line remembers on this machine: the login, the vault in use, and a project's `agent-vault.json`. */
import { dirname, join } from "node:path";
import { InvalidInput } from "../errors.ts";
import { dataDirectoryOf, findText, openDataDirectory, removeFile, writeAtomically } from "../runtime/files.ts";
import type { CliContext } from "./command.ts";

/** `~/.agent-vault/session.json`, mode 0600: the login of a person. */
export interface Login {
  readonly token: string;
  readonly address: string;
  readonly email?: string;
  readonly device_label?: string;
}

const loginFile = "session.json";
const vaultFile = "context";
export const projectFile = "agent-vault.json";

/** @throws {InvalidInput} `login_damaged` when the file is there and says nothing usable. */
export async function findLogin({ home }: CliContext): Promise<Login | undefined> {
  const file = join(dataDirectoryOf(home), loginFile);
  const text = await findText(file);
  if (text === undefined) return undefined;
  const value = parseObject(text);
  const { token, address, email, device_label: label } = value ?? {};
  if (typeof token !== "string" || typeof address !== "string" || token === "") {
    throw new InvalidInput("login_damaged", `The saved login in ${file} cannot be read`, {
      hint: "agent-vault auth login",
    });
  }
  return {
    token,
    address,
    ...(typeof email === "string" ? { email } : {}),
    ...(typeof label === "string" ? { device_label: label } : {}),
  };
}

export async function saveLogin({ home }: CliContext, login: Login): Promise<void> {
  const directory = await openDataDirectory(dataDirectoryOf(home));
  await writeAtomically(join(directory, loginFile), `${JSON.stringify(login, null, 2)}\n`, 0o600);
}

/** False when nobody was logged in. */
export function forgetLogin({ home }: CliContext): Promise<boolean> {
  return removeFile(join(dataDirectoryOf(home), loginFile));
}

/** The vault that `vault use` chose. */
export async function findVaultInUse({ home }: CliContext): Promise<string | undefined> {
  const text = await findText(join(dataDirectoryOf(home), vaultFile));
  return text?.trim() || undefined;
}

/** Undefined forgets the choice. */
export async function saveVaultInUse({ home }: CliContext, vault: string | undefined): Promise<void> {
  const directory = await openDataDirectory(dataDirectoryOf(home));
  if (vault === undefined) await removeFile(join(directory, vaultFile));
  else await writeAtomically(join(directory, vaultFile), vault, 0o600);
}

export interface Project {
  readonly file: string;
  readonly vault: string;
  readonly address?: string;
}

/**
 * The nearest `agent-vault.json`, from the working directory up to the top of the repository or the home.
 * One that cannot be used is reported through `warn` and skipped.
 */
export async function findProject(context: CliContext, warn: (sentence: string) => void): Promise<Project | undefined> {
  for (let directory = context.workingDirectory; ; directory = dirname(directory)) {
    const file = join(directory, projectFile);
    const text = await findText(file);
    if (text !== undefined) {
      const { vault, address } = parseObject(text) ?? {};
      if (typeof vault === "string" && vault !== "") {
        return { file, vault, ...(typeof address === "string" ? { address } : {}) };
      }
      warn(`${file} is ignored: it should look like {"vault": "my-vault"}`);
      return undefined;
    }
    const isTop = directory === dirname(directory) || directory === context.home;
    if (isTop || (await isRepository(directory))) return undefined;
  }
}

export async function saveProject(directory: string, vault: string): Promise<string> {
  const file = join(directory, projectFile);
  await writeAtomically(file, `${JSON.stringify({ vault }, null, 2)}\n`, 0o644);
  return file;
}

/** A working copy has a folder `.git` with a HEAD; a linked one has a file. */
async function isRepository(directory: string): Promise<boolean> {
  return (await findText(join(directory, ".git", "HEAD"))) !== undefined || (await isGitFile(join(directory, ".git")));
}

async function isGitFile(path: string): Promise<boolean> {
  try {
    return (await findText(path)) !== undefined;
  } catch {
    return true; // a directory cannot be read as text, and is a repository all the same
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // the caller says what the file should look like
  }
}
