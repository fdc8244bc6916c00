import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runBinary } from "../support/binary.ts";

const top = join(import.meta.dirname, "..", "..");
const pages = ["README.md", ...readdirSync(join(top, "docs")).map((file) => `docs/${file}`)];

interface Example {
  readonly page: string;
  readonly line: string;
  /** `vault service add`: the words before the first flag or value. */
  readonly command: readonly string[];
  readonly flags: readonly string[];
}

const examples: readonly Example[] = pages.flatMap((page) =>
  linesOfBlocks(readFileSync(join(top, page), "utf8")).map((line) => ({ page, line, ...parse(line) })),
);

describe("the examples of the documentation", () => {
  it("are many, so that the checks below mean something", () => {
    expect(examples.length).toBeGreaterThan(8);
  });

  it.each(examples)("are commands with flags that exist: $line ($page)", async ({ command, flags }) => {
    const { code, stdout, stderr } = await runBinary([...command, "--help"]);
    expect(code, stderr).toBe(0);
    expect(flags.filter((flag) => !new RegExp(`(^|[\\s,])${flag}([\\s,=]|$)`, "m").test(stdout))).toEqual([]);
  });
});

/** Lines of code blocks that call agent-vault, joined where a backslash continues them. */
function linesOfBlocks(page: string): string[] {
  const blocks = [...page.matchAll(/^```(?:sh|console|)\n([\s\S]*?)^```/gm)].map(([, block]) => block ?? "");
  const lines = blocks.flatMap((block) => block.replaceAll(/\\\n\s*/g, "").split("\n"));
  return lines.flatMap((line) => /(?:^|\$\(|\s)(agent-vault [^)#]*)/.exec(line)?.[1]?.trim() ?? []);
}

function parse(line: string): { command: string[]; flags: string[] } {
  // What stands behind -- is somebody else's command.
  const words = (line.split(" -- ")[0] ?? "").split(/\s+/).slice(1);
  const firstFlag = words.findIndex((word) => word.startsWith("-"));
  const named = firstFlag < 0 ? words : words.slice(0, firstFlag);
  const value = named.findIndex((word) => !/^[a-z][a-z-]*$/.test(word) || word === "billing");
  return {
    command: value < 0 ? named : named.slice(0, value),
    flags: words.filter((word) => /^--?[a-z]/.test(word)).map((word) => word.split("=")[0] ?? word),
  };
}
