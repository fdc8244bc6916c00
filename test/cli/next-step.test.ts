import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { errorsWithNextStep, nextStep } from "../../src/cli/next-step.ts";
import { reportError } from "../../src/cli/output.ts";
import { findChild } from "../../src/cli/parse.ts";
import { rootCommand } from "../../src/cli/root.ts";
import { NotFound } from "../../src/errors.ts";

const src = join(import.meta.dirname, "..", "..", "src");
const server = ["domain", "http"].flatMap((folder) =>
  readdirSync(join(src, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(src, folder, file), "utf8")),
);

describe("the next step after an error of the server", () => {
  it.each(errorsWithNextStep)("%s is an error that there is, and its step a command that there is", async (code) => {
    expect(server.some((text) => text.includes(`"${code}"`))).toBe(true);
    for (const [, line = ""] of (nextStep(code) ?? "").matchAll(/agent-vault ((?:[a-z-]+ ?)+)/g)) {
      let command = rootCommand;
      // What follows the command is the rest of the sentence.
      for (const word of line.trim().split(" ")) command = (await findChild(command, word)) ?? command;
      expect(command.run, line).toBeDefined();
    }
  });

  it("is shown unless the server knows better", () => {
    const shown = (error: unknown) => {
      let text = "";
      const write = (part: string) => {
        text += part;
      };
      reportError(error, { write, isDebug: false });
      return text;
    };
    expect(shown(new NotFound("agent_not_found", "No"))).toContain("try:   agent-vault agent list");
    expect(shown(new NotFound("agent_not_found", "No", { hint: "look there" }))).toContain("try:   look there");
    expect(shown(new NotFound("constructor", "No"))).toBe("error: No\n");
  });
});
