import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const source = join(import.meta.dirname, "..", "..", "..", "src");

it("lets a server outlive what nobody caught, and says what it was", async () => {
  const folder = await mkdtemp(join(tmpdir(), "agent-vault-bug-"));
  const script = join(folder, "bug.ts");
  await writeFile(
    script,
    `import { createLogger } from ${JSON.stringify(join(source, "log.ts"))};
import { outliveBugs } from ${JSON.stringify(join(source, "cli", "serve", "last-defence.ts"))};
outliveBugs(createLogger({ level: "info", format: "json" }));
setTimeout(() => { throw new TypeError("thrown"); }, 1);
setTimeout(() => void Promise.reject(new RangeError("rejected")), 20);
setTimeout(() => { console.log("alive"); process.exit(0); }, 100);
`,
  );
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script]);
  await rm(folder, { recursive: true });
  expect(stdout).toBe("alive\n");
  const events = stderr
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(events).toMatchObject([
    { level: "error", event: "uncaught_exception", error: "thrown", stack: expect.stringContaining("bug.ts") },
    { level: "error", event: "unhandled_rejection", error: "rejected", stack: expect.stringContaining("bug.ts") },
  ]);
});
