/** Checks the audit log of an export, or of the database on this machine; prunes the latter. */
import { createReadStream, existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseServerConfig } from "../../config.ts";
import { Corrupt, InvalidInput, messageOf, NotFound } from "../../errors.ts";
import { silentLogger } from "../../log.ts";
import type { CliContext } from "../command.ts";
import { note, printJson, success, warn } from "../output.ts";

export interface VerifyFlags {
  readonly file?: string | undefined;
  readonly key?: string | undefined;
  readonly against?: string | undefined;
  readonly json: boolean;
}

/** The inside of the server, loaded when this command runs. */
type Verify = typeof import("../../domain/audit/verify.ts");
type Verdict = Awaited<ReturnType<Verify["verifyExport"]>>;

/** @throws {Corrupt} `audit_broken` naming the first entry that is wrong; with `json` that is the exit code. */
export async function verifyAudit(context: CliContext, flags: VerifyFlags): Promise<number> {
  const verify = await import("../../domain/audit/verify.ts");
  const open = (name: string) => linesOf(resolve(context.workingDirectory, name));
  const { key, against } = flags;
  const options = {
    trustedKeyPem: key === undefined ? undefined : await readText(resolve(context.workingDirectory, key)),
    ...(against !== undefined && { keptCheckpoints: await verify.readCheckpoints(open(against)) }),
  };
  if (options.keptCheckpoints?.length === 0) {
    throw new InvalidInput("no_checkpoints", `There is no checkpoint in ${flags.against}`, {
      hint: "agent-vault audit checkpoint, or an export",
    });
  }
  const verdict =
    flags.file === undefined
      ? await withLocal(context, (database) => verify.verifyDatabase(database, options))
      : await verify.verifyExport(open(flags.file), options);
  return report(context, flags, verdict);
}

function report({ terminal }: CliContext, flags: VerifyFlags, verdict: Verdict): number {
  const { problem, entries, checkpoints, signedId, lastId } = verdict;
  if (flags.json) {
    printJson(terminal, {
      ok: problem === undefined,
      ...(problem !== undefined && { problem }),
      entries,
      last_id: lastId,
      last_hash: verdict.lastHash,
      checkpoints,
      signed_id: signedId,
      key_ids: verdict.keyIds,
    });
    return problem === undefined ? 0 : 1;
  }
  if (problem !== undefined) {
    throw new Corrupt("audit_broken", `The audit log is not whole: ${problem.message}`, {
      details: { entry: problem.entry, kind: problem.kind },
    });
  }
  success(terminal, `The audit log is whole: ${entries} entries, ${checkpoints} checkpoints`);
  if (lastId > signedId) {
    const which = lastId === signedId + 1 ? `Entry ${lastId} is` : `Entries ${signedId + 1} to ${lastId} are`;
    warn(terminal, `${which} not signed yet`);
  }
  if (flags.key === undefined) {
    note(terminal, `Signed with the key that the log itself names (${verdict.keyIds.join(", ") || "none"}).`);
    note(terminal, "Give --key with a copy that was kept elsewhere to be sure that it is the server's.");
  }
  return 0;
}

/** @param before RFC 3339. @throws {Conflict} `audit_broken`. */
export async function pruneLocal(context: CliContext, before: string): Promise<void> {
  const { pruneAudit } = await import("../../domain/audit/prune.ts");
  const pruned = await withLocal(context, (database) => pruneAudit(database, before));
  if (pruned === undefined) return note(context.terminal, "There is nothing to prune: no checkpoint is that old.");
  success(context.terminal, `Deleted ${pruned.entries} entries, up to entry ${pruned.through}`);
}

async function withLocal<T>(
  { environment }: CliContext,
  work: (database: Parameters<Verify["verifyDatabase"]>[0]) => Promise<T>,
): Promise<T> {
  const config = parseServerConfig({}, environment);
  if (config.database.kind === "sqlite" && !existsSync(config.database.path)) {
    throw new NotFound("no_database", `There is no database at ${config.database.path}`, {
      hint: "agent-vault audit export -o audit.ndjson, then agent-vault audit verify --file audit.ndjson",
    });
  }
  const { withLocalDatabase } = await import("../../server.ts");
  return withLocalDatabase(config, silentLogger, work);
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const input = createReadStream(file, "utf8");
  try {
    yield* createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  } catch (error) {
    throw unreadable(file, error);
  } finally {
    input.destroy();
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(file: string, cause: unknown): InvalidInput {
  return new InvalidInput("unreadable_file", `Cannot read ${file}: ${messageOf(cause)}`, { cause });
}
