import { describe, expect, it } from "vitest";
import { csvCell, parseCount } from "../../src/http/journal-wire.ts";

describe("a cell of CSV", () => {
  it.each([
    { text: "=1+1", cell: `"'=1+1"`, because: "a formula" },
    { text: "+1", cell: `"'+1"`, because: "a formula" },
    { text: "-1", cell: `"'-1"`, because: "a formula" },
    { text: "@SUM(A1)", cell: `"'@SUM(A1)"`, because: "a formula" },
    { text: "  =1", cell: `"'  =1"`, because: "some programs skip blanks" },
    { text: "\u00a0=1", cell: `"'\u00a0=1"`, because: "some programs skip blanks" },
    { text: "＝1", cell: `"'＝1"`, because: "full width is taken for the same" },
    { text: "\t=1", cell: "\\u0009=1", because: "the tab is shown, so nothing begins with the sign" },
    { text: "=cmd|'/c calc'!A1", cell: `"'=cmd|'/c calc'!A1"`, because: "it starts a program" },
    { text: 'a","=1', cell: `"a"",""=1"`, because: "a quote must not end the cell" },
    { text: "a\r\n=1", cell: "a\\u000d\\u000a=1", because: "a line must not end the row" },
    { text: "\u001b[2J\u009b31m", cell: "\\u001b[2J\\u009b31m", because: "somebody prints the file to a terminal" },
    { text: "a;=1", cell: `"a;=1"`, because: "half of the world separates cells with it" },
    { text: "/plain?no", cell: "/plain?no", because: "it is harmless" },
    { text: "", cell: "", because: "it is empty" },
  ])("shows $text as $cell: $because", ({ text, cell }) => {
    expect(csvCell(text)).toBe(cell);
  });

  it("leaves numbers alone, and nothing for null", () => {
    expect([csvCell(-5), csvCell(0), csvCell(null)]).toEqual(["-5", "0", ""]);
  });
});

describe("a number of a query", () => {
  it.each([
    ["1", 1],
    ["9223372036854775807", Number.MAX_SAFE_INTEGER],
    ["9223372036854775808", undefined],
    ["0", undefined],
    ["-1", undefined],
    ["1.5", undefined],
    ["0x10", undefined],
    ["", undefined],
    [null, undefined],
  ])("%s is %s", (text, value) => {
    expect(parseCount(text)).toBe(value);
  });
});
