import { describe, expect, it } from "vitest";
import { note, printable, printFacts, printJson, printTable, reportError, success } from "../../src/cli/output.ts";
import { InvalidInput } from "../../src/errors.ts";
import type { Terminal } from "../../src/runtime/terminal.ts";

const never = (): never => {
  throw new Error("nothing is asked here");
};

/** A terminal that remembers what it was sent. */
function openPaper(): Terminal & { readonly text: () => string } {
  let text = "";
  const write = (more: string) => {
    text += more;
  };
  const asking = { ask: never, askOrRead: never, askHidden: never, readLines: never, readAll: never };
  const writing = { out: write, outValue: write, err: write, outSlowly: async (more: string) => write(more) };
  return { isInteractive: false, hasColor: false, width: 80, ...writing, ...asking, text: () => text };
}

// Clears the screen, sets a title, and its 8-bit form; turns the direction of writing.
const hostile = "a\u001b[2J\u001b]0;t\u0007\u009b31m\u202eb\r\u2066";
const commands = /[\p{Cc}\p{Bidi_Control}]/u;

describe("what a server sent", () => {
  it.each<{ where: string; print: (terminal: Terminal) => void }>([
    { where: "a table", print: (terminal) => printTable(terminal, { head: ["A"], rows: [[hostile]], empty: "" }) },
    { where: "facts", print: (terminal) => printFacts(terminal, [["A", hostile]]) },
    { where: "JSON", print: (terminal) => printJson(terminal, { a: hostile }) },
    { where: "a success", print: (terminal) => success(terminal, hostile) },
    { where: "a note", print: (terminal) => note(terminal, hostile) },
    {
      where: "an error",
      print: (terminal) =>
        void reportError(new InvalidInput("x", hostile, { hint: hostile, cause: hostile }), {
          write: terminal.err,
          isDebug: true,
        }),
    },
    {
      where: "a bug",
      print: (terminal) => void reportError(new Error(hostile), { write: terminal.err, isDebug: false }),
    },
  ])("does not reach the terminal as commands in $where", ({ print }) => {
    const paper = openPaper();
    print(paper);
    expect(paper.text().replaceAll("\n", "")).not.toMatch(commands);
    expect(paper.text()).toContain("\\u001b[2J");
  });

  it("stays the same JSON", () => {
    const paper = openPaper();
    printJson(paper, { a: hostile });
    expect(JSON.parse(paper.text())).toEqual({ a: hostile });
  });

  it("keeps its letters and line breaks", () => {
    expect(printable("Zoë\n東京 ✓")).toBe("Zoë\n東京 ✓");
  });
});
