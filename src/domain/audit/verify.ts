/** Checks a whole audit log: an export, line by line, or a database. */
import { VerifyingKey } from "../../crypto/signing.ts";
import type { Database } from "../../storage/database.ts";
import { Chain, type Problem, problem } from "./chain.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type AuditRow, hashedColumns } from "./entry.ts";
import { type ExportLine, exportFormat, exportLines } from "./export.ts";

export interface VerifyOptions {
  /** A public key (PEM) from a place that one trusts; without it, the keys that the log itself names are believed. */
  readonly trustedKeyPem?: string | undefined;
  /** Checkpoints that were kept elsewhere, such as those of an earlier export: the log must still agree with them. */
  readonly keptCheckpoints?: readonly Checkpoint[];
}

export interface Verdict {
  readonly problem: Problem | undefined;
  /** Entries that were checked. */
  readonly entries: number;
  readonly lastId: number;
  readonly lastHash: string;
  /** Checkpoints whose signature holds. */
  readonly checkpoints: number;
  /** The last entry that a checkpoint covers; what comes after it could be cut off or rewritten without a trace. */
  readonly signedId: number;
  readonly keyIds: readonly string[];
}

/** @throws {InvalidInput} `invalid_public_key` for the key that was given. */
export async function verifyDatabase(database: Database, options: VerifyOptions = {}): Promise<Verdict> {
  // Read first: what a server appends meanwhile is in the head that is read later.
  const newest = await database.db
    .selectFrom("audit_log")
    .select((row) => row.fn.max("id").as("id"))
    .executeTakeFirst();
  const verdict = await verifyLines(exportLines(database), options);
  const newestId = Number(newest?.id ?? 0);
  if (verdict.problem !== undefined || newestId <= verdict.lastId) return verdict;
  const message = `Entry ${verdict.lastId + 1} was added behind the end of the chain`;
  return { ...verdict, problem: problem(verdict.lastId + 1, "misplaced", message) };
}

/** @param lines of a file; see `verifyDatabase` for what is thrown. */
export async function verifyExport(lines: AsyncIterable<string>, options: VerifyOptions = {}): Promise<Verdict> {
  return verifyLines(parseLines(lines), options);
}

/** The checkpoints of an export, or of a file that has nothing but such lines. Nothing of it is checked. */
export async function readCheckpoints(lines: AsyncIterable<string>): Promise<readonly Checkpoint[]> {
  const found: Checkpoint[] = [];
  for await (const line of parseLines(lines)) {
    if ("checkpoint" === line?.type) found.push(withoutType(line));
  }
  return found;
}

type MaybeLine = ExportLine | undefined;

async function verifyLines(lines: AsyncIterable<MaybeLine>, options: VerifyOptions): Promise<Verdict> {
  const run = new Run(options);
  await run.begin();
  for await (const line of lines) {
    if (line === undefined)
      run.fail(problem(run.nextId, "format", `The line after entry ${run.nextId - 1} is damaged`));
    else await run.take(line);
    if (run.hasSaidAll) break;
  }
  return run.finish();
}

/** One check, from its header to its end. */
class Run {
  problem: Problem | undefined;
  readonly #options: VerifyOptions;
  readonly #keys = new Map<string, VerifyingKey>();
  /** By the entry that they are of. */
  readonly #kept: Map<number, Checkpoint[]>;
  #chain: Chain | undefined;
  #hasEnded = false;
  /** Entries up to here were pruned, if an entry says so. */
  #prunedThrough = 0;
  #saysPruned = false;

  constructor(options: VerifyOptions) {
    this.#options = options;
    this.#kept = Map.groupBy(options.keptCheckpoints ?? [], ({ audit_id }) => audit_id);
  }

  /** Nothing that is still to come could change the verdict. */
  get hasSaidAll(): boolean {
    return this.problem !== undefined && (this.#prunedThrough === 0 || this.#saysPruned);
  }

  get nextId(): number {
    return (this.#chain?.last.id ?? 0) + 1;
  }

  async begin(): Promise<void> {
    if (this.#options.trustedKeyPem === undefined) return;
    const key = await VerifyingKey.parse(this.#options.trustedKeyPem);
    this.#keys.set(key.id, key);
  }

  fail(what: Problem | undefined): void {
    this.problem ??= what;
  }

  async take(line: ExportLine): Promise<void> {
    if (line.type === "header") {
      if (this.#chain !== undefined) this.fail(problem(this.nextId, "format", "The log begins twice"));
      this.#chain = new Chain({ instanceId: line.instance_id, keys: this.#keys });
      return;
    }
    const chain = this.#chain;
    if (chain === undefined || this.#hasEnded) {
      this.fail(problem(this.nextId, "format", "There are lines before the header or after the end"));
      return;
    }
    switch (line.type) {
      case "key":
        return this.#takeKey(line.id, line.public_key_pem);
      case "entry":
        this.#saysPruned ||= prunes(line, this.#prunedThrough);
        this.fail(chain.entry(withoutType(line)));
        return this.#compareKept(chain);
      case "checkpoint":
        return this.#takeCheckpoint(chain, withoutType(line));
      case "end":
        this.#hasEnded = true;
        return this.fail(chain.end({ id: line.last_id, hash: line.last_hash }));
    }
  }

  /** One that comes before all entries is what is left of those that were pruned. */
  async #takeCheckpoint(chain: Chain, checkpoint: Checkpoint): Promise<void> {
    const { audit_id: id, hash } = checkpoint;
    if (chain.last.id > 0 || id < 1) return this.fail(await chain.checkpoint(checkpoint));
    this.#prunedThrough = id;
    this.#chain = chain.from({ id, hash });
    this.fail(await this.#chain.checkpoint(checkpoint));
    await this.#compareKept(this.#chain);
    for (const kept of this.#kept.keys()) if (kept < id) this.#kept.delete(kept);
  }

  async #takeKey(id: string, pem: string): Promise<void> {
    if (this.#options.trustedKeyPem !== undefined) return;
    try {
      const key = await VerifyingKey.parse(pem);
      if (key.id === id) this.#keys.set(id, key);
      else this.fail(problem(0, "format", `The public key ${id} is not the one of that id`));
    } catch {
      this.fail(problem(0, "format", `The public key ${id} is damaged`));
    }
  }

  async #compareKept(chain: Chain): Promise<void> {
    const { id } = chain.last;
    if (this.problem !== undefined) return;
    for (const checkpoint of this.#kept.get(id) ?? []) this.fail(await chain.checkpoint(checkpoint));
    this.#kept.delete(id);
  }

  async finish(): Promise<Verdict> {
    const chain = this.#chain ?? new Chain({ instanceId: "", keys: this.#keys });
    if (this.#chain === undefined) this.fail(problem(0, "format", "This is not an export of an audit log"));
    if (!this.#hasEnded) {
      this.fail(problem(this.nextId, "missing", `The log breaks off after entry ${chain.last.id}: it has no end`));
    }
    if (this.#prunedThrough > 0 && !this.#saysPruned) {
      const which = `Entries 1 to ${this.#prunedThrough} are missing`;
      this.problem = problem(1, "missing", `${which}, and no entry says that they were pruned`);
    }
    const [beyond] = [...this.#kept.keys()].sort((one, other) => one - other);
    if (beyond !== undefined && this.problem === undefined) {
      const which = `Entries ${this.nextId} to ${beyond} are missing`;
      this.fail(problem(this.nextId, "missing", `${which}: a checkpoint that was kept says that they were there`));
    }
    return {
      problem: this.problem,
      entries: chain.entries,
      lastId: chain.last.id,
      lastHash: chain.last.hash,
      checkpoints: chain.checkpoints,
      signedId: chain.signedId,
      keyIds: [...this.#keys.keys()],
    };
  }
}

function prunes({ action, after }: AuditRow, through: number): boolean {
  return action === "audit.prune" && parseJson(after ?? "")?.through === through;
}

/** Undefined for a line that is none of ours. */
async function* parseLines(lines: AsyncIterable<string>): AsyncGenerator<MaybeLine> {
  for await (const text of lines) if (text.trim() !== "") yield parseLine(text);
}

const shapes: Readonly<Record<ExportLine["type"], Readonly<Record<string, "string" | "number" | "text-or-null">>>> = {
  header: { format: "string", instance_id: "string" },
  key: { id: "string", public_key_pem: "string" },
  entry: {
    ...Object.fromEntries(hashedColumns.map((column) => [column, "string" as const])),
    id: "number",
    vault_id: "text-or-null",
    before: "text-or-null",
    after: "text-or-null",
    previous_hash: "string",
    hash: "string",
  },
  checkpoint: { audit_id: "number", hash: "string", key_id: "string", signature: "string", created_at: "string" },
  end: { last_id: "number", last_hash: "string" },
};

/** Exactly the fields that are hashed or signed: one more would be read by people and checked by nobody. */
function parseLine(text: string): MaybeLine {
  const value = parseJson(text);
  if (value === undefined) return undefined;
  const shape = Object.hasOwn(shapes, String(value.type)) ? shapes[value.type as ExportLine["type"]] : undefined;
  if (shape === undefined || Object.keys(value).length !== Object.keys(shape).length + 1) return undefined;
  const isWhole = Object.entries(shape).every(([name, kind]) => {
    const field = value[name];
    if (kind === "number") return Number.isSafeInteger(field);
    return typeof field === "string" || (kind === "text-or-null" && field === null);
  });
  if (!isWhole || (value.type === "header" && value.format !== exportFormat)) return undefined;
  // The fields are those of the shape, each of its type.
  return value as unknown as ExportLine;
}

function parseJson(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // a line that is no JSON is damaged, which the caller says
  }
}

function withoutType<Line extends AuditRow | Checkpoint>({
  type: _,
  ...row
}: Line & { readonly type: string }): Omit<Line & { readonly type: string }, "type"> {
  return row;
}
