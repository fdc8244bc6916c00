import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { renderReference } from "../../src/cli/reference.ts";
import { rootCommand } from "../../src/cli/root.ts";

describe("docs/cli-reference.md", () => {
  it("is what the command tree says: npm run reference writes it", async () => {
    const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "cli-reference.md"), "utf8");
    expect(page).toBe(await renderReference(rootCommand));
  });

  it("explains what is shared once and leaves other spellings out", async () => {
    const text = await renderReference(rootCommand);
    expect(text).toContain("## agent-vault vault service add");
    expect(text).not.toContain("## agent-vault owner settings");
    expect(text).not.toContain("`--help`,");
  });
});
