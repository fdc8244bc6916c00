import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { families, readEntry, readGallery, renderLedger } from "./attacks/support/ledger.ts";

const page = join(import.meta.dirname, "..", "docs", "leak-ledger.md");

describe("the leak ledger", () => {
  it("says what the attack gallery declares", () => {
    expect(readFileSync(page, "utf8"), "run `npm run ledger`").toBe(renderLedger(readGallery()));
  });

  it("has attacks of every family", () => {
    const found = new Set(readGallery().map(({ family }) => family));
    expect([...found]).toEqual(Object.keys(families));
  });

  it.each([
    { name: "no declaration", file: "framing/x.test.ts", source: 'it("x", () => {});\n' },
    { name: "an empty declaration", file: "framing/x.test.ts", source: "defended({});\n" },
    { name: "a leak without consequence", file: "framing/x.test.ts", source: 'const a = knownLeak({ wants: "x" });\n' },
    {
      name: "a leak that no test shows",
      file: "framing/x.test.ts",
      source: 'const a = knownLeak({ wants: "x", consequence: "y" });\n',
    },
    {
      name: "a leak that is called defended",
      file: "framing/x.test.ts",
      source: 'defended({ wants: "x" });\nleak.stillLeaks("y", async () => true);\n',
    },
    { name: "a file outside of the families", file: "x.test.ts", source: 'defended({ wants: "x" });\n' },
  ])("refuses $name", ({ file, source }) => {
    expect(() => readEntry(file, source)).toThrow(file);
  });

  it("reads a declaration as it stands in a file", () => {
    const source =
      'import x;\n\nconst leak = knownLeak({\n  wants: "a \\"b\\"",\n  consequence: "c",\n});\nleak.stillLeaks();\n';
    expect(readEntry("framing/x.test.ts", source)).toMatchObject({
      outcome: "known leak",
      wants: 'a "b"',
      consequence: "c",
    });
  });
});
