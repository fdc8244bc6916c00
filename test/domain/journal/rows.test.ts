import { describe, expect, it } from "vitest";
import { formatSpooled, parseSpooled } from "../../../src/domain/journal-rows.ts";
import { journalEntry } from "../../support/journal-entry.ts";

const scrubbed = { mode: "block", found: ["TOK"], isBlind: false } as const;

describe("a line of the file that holds entries while the database is away", () => {
  it("brings back what was found in the answer", () => {
    const entry = journalEntry({ scrubbed });
    expect(parseSpooled(formatSpooled({ entry, count: 1 }, false))?.entry).toEqual(entry);
  });

  it.each([
    { scrubbed: "block" },
    { scrubbed: { ...scrubbed, mode: "loud" } },
    { scrubbed: { ...scrubbed, found: [1] } },
  ])("is no entry with $scrubbed", (bad) => {
    expect(parseSpooled(JSON.stringify({ ...journalEntry(), ...bad }))).toBeUndefined();
  });
});
