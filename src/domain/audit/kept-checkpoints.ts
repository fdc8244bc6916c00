/**
 * Checkpoints outside of the database. Whoever can write to the database can cut the log back and start the server anew,
 * which then remembers nothing; what is kept here says how far the log had come.
 */
import type { Artifacts } from "../../storage/artifacts.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** Each covers everything before it, so a few are enough to look back on. */
const keptCheckpoints = 100;

export class KeptCheckpoints {
  readonly #artifacts: Artifacts;

  constructor(artifacts: Artifacts) {
    this.#artifacts = artifacts;
  }

  /** The one that covers most. Files that are none, such as half of one, are passed over. */
  async newest(instanceId: string): Promise<Pick<Checkpoint, "audit_id" | "hash"> | undefined> {
    for (const key of (await this.#artifacts.list(folderOf(instanceId))).toReversed()) {
      const checkpoint = parse((await this.#artifacts.find(key)) ?? "");
      if (checkpoint !== undefined) return checkpoint;
    }
    return undefined;
  }

  /** One line of JSON, as `audit verify --against` takes it. */
  async keep(instanceId: string, checkpoint: Checkpoint): Promise<void> {
    const folder = folderOf(instanceId);
    await this.#artifacts.write(
      `${folder}/${String(checkpoint.audit_id).padStart(16, "0")}.json`,
      `${JSON.stringify({ type: "checkpoint", ...checkpoint })}\n`,
    );
    const old = (await this.#artifacts.list(folder)).slice(0, -keptCheckpoints);
    for (const key of old) await this.#artifacts.remove(key);
  }
}

function folderOf(instanceId: string): string {
  return `audit-checkpoints/${instanceId}`;
}

function parse(text: string): Pick<Checkpoint, "audit_id" | "hash"> | undefined {
  try {
    const { audit_id, hash } = JSON.parse(text) as Partial<Checkpoint>;
    return typeof audit_id === "number" && typeof hash === "string" ? { audit_id, hash } : undefined;
  } catch {
    return undefined;
  }
}
