import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Spool } from "../../src/runtime/spool.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agent-vault-test-"));
  path = join(folder, "spool");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (maxBytes = 10_000) => Spool.open({ path, maxBytes });

describe("a spool", () => {
  it("gives lines back in order, also to the next process", () => {
    const first = open();
    first.append(["one", "zwei é"]);
    first.append(["three"]);
    first.close();
    const second = open();
    expect(second.peek(10).lines).toEqual(["one", "zwei é", "three"]);
    second.close();
  });

  it("forgets what was dealt with, and only that", () => {
    const first = open();
    first.append(["one", "two", "three"]);
    first.advance(first.peek(2).end);
    first.close();
    const second = open();
    expect(second.peek(10).lines).toEqual(["three"]);
    second.append(["four"]);
    expect(second.peek(10).lines).toEqual(["three", "four"]);
    second.close();
  });

  it("shrinks once everything was dealt with", () => {
    const spool = open();
    spool.append(["x".repeat(1_000)]);
    spool.advance(spool.peek(1).end);
    expect(spool.isEmpty).toBe(true);
    expect(statSync(path).size).toBe(17);
    spool.append(["again"]);
    expect(spool.peek(1).lines).toEqual(["again"]);
    spool.close();
  });

  it("never grows beyond its bound, and takes all of a batch or nothing", () => {
    const spool = open(100);
    expect(spool.append(["a".repeat(50)])).toBe(true);
    expect(spool.append(["b", "c".repeat(50)])).toBe(false);
    expect(statSync(path).size).toBeLessThanOrEqual(100);
    expect(spool.peek(10).lines).toEqual(["a".repeat(50)]);
    spool.close();
  });

  it("ends a line that was cut short, so that the next one stands by itself", () => {
    const first = open();
    first.append(["whole"]);
    first.close();
    appendFileSync(path, '{"cut":');
    const second = open();
    second.append(["next"]);
    expect(second.peek(10).lines).toEqual(["whole", '{"cut":', "next"]);
    second.close();
  });

  it.each([
    { content: "not a spool at all, but long enough to look at\n", because: "the header is no number" },
    { content: "9999999999999999\nline\n", because: "the header points beyond the end" },
    { content: "0000", because: "the process died while it made the file" },
  ])("starts anew when $because", ({ content }) => {
    writeFileSync(path, content);
    const spool = open();
    expect(spool.isEmpty).toBe(true);
    spool.append(["line"]);
    expect(spool.peek(1).lines).toEqual(["line"]);
    spool.close();
  });

  it("is readable by its owner alone, also when it was not", () => {
    writeFileSync(path, "", { mode: 0o666 });
    open().close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("does not write through a link that somebody laid", () => {
    const elsewhere = join(folder, "elsewhere");
    writeFileSync(elsewhere, "precious\n");
    symlinkSync(elsewhere, path);
    expect(() => open()).toThrow();
    expect(readFileSync(elsewhere, "utf8")).toBe("precious\n");
  });

  it("takes nothing after it was closed", () => {
    const spool = open();
    spool.close();
    expect(spool.append(["late"])).toBe(false);
  });
});
