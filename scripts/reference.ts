/** Writes docs/cli-reference.md from the command tree. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderReference } from "../src/cli/reference.ts";
import { rootCommand } from "../src/cli/root.ts";

writeFileSync(join(import.meta.dirname, "..", "docs", "cli-reference.md"), await renderReference(rootCommand));
