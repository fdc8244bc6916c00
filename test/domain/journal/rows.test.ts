import { describe, expect, it } from "vitest";
import { formatSpooled, parseSpooled } from "../../../src/domain/journal-rows.ts";
import { journalEntry } from "../../support/journal-entry.ts";

const scrubbed = { mode: "block", found: ["TOK"], isBlind: false } as const;

describe("a line of the file that holds entries while the database is away", () => {
  it("brings back what was found in the answer", () => {
    const entry = journalEntry({ scrubbed });
    expect(parseSpooled(formatSpooled({ entry, count: 1 }, false))?.entry).toEqual(entry);
  });

  it("brings back what only some requests have to tell", () => {
    const dial = { dnsMs: 1, connectMs: 2, tlsMs: 3, address: "192.0.2.1" };
    const details = { queueMs: 4, dial, isUnanswered: true, isRetried: true } as const;
    const entry = journalEntry({ details, ingress: "tunnel", protocol: "h2" });
    expect(parseSpooled(formatSpooled({ entry, count: 1 }, false))?.entry).toEqual(entry);
  });

  it.each([
    { details: { dial: { dnsMs: 1, connectMs: 2, tlsMs: 3 } } },
    { details: { dial: { dnsMs: "1", connectMs: 2, tlsMs: 3, address: "" } } },
    { details: { queueMs: null } },
    { details: { isRetried: 1 } },
    { details: "none" },
    { ingress: "elsewhere" },
    { protocol: "h3" },
  ])("is no entry with %j", (bad) => {
    expect(parseSpooled(JSON.stringify({ ...journalEntry(), ...bad }))).toBeUndefined();
  });

  it.each([
    { scrubbed: "block" },
    { scrubbed: { ...scrubbed, mode: "loud" } },
    { scrubbed: { ...scrubbed, found: [1] } },
  ])("is no entry with $scrubbed", (bad) => {
    expect(parseSpooled(JSON.stringify({ ...journalEntry(), ...bad }))).toBeUndefined();
  });
});
