/** Writes docs/leak-ledger.md from what the files of test/attacks declare. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readGallery, renderLedger } from "../test/attacks/support/ledger.ts";

writeFileSync(join(import.meta.dirname, "..", "docs", "leak-ledger.md"), renderLedger(readGallery()));
