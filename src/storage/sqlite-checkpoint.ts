/**
 * Folds SQLite's write-ahead log into the file without holding up the process: SQLite waits for the disk on the thread
 * that calls it, and there it takes ten times as long as copying the pages.
 *
 * A checkpoint is: log to the disk, pages into the file, file to the disk, and only then may the log be written from its
 * beginning again (SQLite, "Write-Ahead Logging", section 3). The copying is SQLite's own, on a connection that does not
 * wait for the disk; the waiting is ours, in the background. All the while the lock on writing is held, so that nobody,
 * in no process, appends to the log or begins it anew. A machine that loses power in between finds the log as it was.
 */
import { type FileHandle, open } from "node:fs/promises";
import type { DatabaseSync } from "node:sqlite";

/** The log is folded in when it has about this many pages of 4 KiB: copying them takes two milliseconds. */
const checkpointPages = 1_000;
/** When the guess at the number of pages is far off, or the disk has failed us once, SQLite does it by itself. */
export const backstopPages = 8_000;
const usualPages = 1_000;
/** Of the journal; its rows are short, and an index goes with them. */
const rowsPerPage = 10;
/** A small transaction: a row in two or three tables, their indexes, the audit log. */
const pagesPerChange = 8;

export interface CheckpointParts {
  readonly path: string;
  readonly writer: DatabaseSync;
  /** A connection of its own with `synchronous = off`, which writes nothing else. */
  readonly copier: DatabaseSync;
  readonly onFailure: (error: unknown) => void;
}

export class Checkpoints {
  readonly #parts: CheckpointParts;
  #pages = 0;
  #hasFailed = false;
  /**
   * Closing any descriptor of a file drops every lock that the process has on it (POSIX), SQLite's too: these stay open
   * for as long as its connections.
   */
  #files: { readonly log: FileHandle; readonly database: FileHandle } | undefined;

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
  }

  noteRows(rows: number): void {
    this.#pages += 1 + rows / rowsPerPage;
  }

  noteChange(): void {
    this.#pages += pagesPerChange;
  }

  get isDue(): boolean {
    return this.#pages >= checkpointPages && !this.#hasFailed;
  }

  /** To be called by whoever has the turn to write, with no transaction open. */
  async run(): Promise<void> {
    const { writer, copier, onFailure } = this.#parts;
    this.#pages = 0;
    try {
      this.#files ??= await this.#openFiles();
      // Another process that writes right now is no reason to wait: there is a next time.
      if (!beginsAtOnce(writer)) return;
      try {
        await this.#files.log.datasync();
        copier.exec("pragma wal_checkpoint(passive)");
        await this.#files.database.datasync();
      } finally {
        writer.exec("rollback");
      }
    } catch (error) {
      // What the disk says of one attempt holds for the next: from here on SQLite sees to it, and reports it to writers.
      this.#hasFailed = true;
      writer.exec(`pragma wal_autocheckpoint = ${usualPages}`);
      onFailure(error);
    }
  }

  /** After the connections are closed. */
  async close(): Promise<void> {
    await this.#files?.log.close();
    await this.#files?.database.close();
    this.#files = undefined;
  }

  async #openFiles() {
    const { path } = this.#parts;
    // The log is there: somebody has written. Windows syncs only what was opened for writing.
    return { log: await open(`${path}-wal`, "r+"), database: await open(path, "r+") };
  }
}

function beginsAtOnce(writer: DatabaseSync): boolean {
  const { timeout } = writer.prepare("pragma busy_timeout").get() as { timeout: number };
  writer.exec("pragma busy_timeout = 0");
  try {
    writer.exec("begin immediate");
    return true;
  } catch {
    return false;
  } finally {
    writer.exec(`pragma busy_timeout = ${timeout}`);
  }
}
