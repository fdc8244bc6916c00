// Runs a script of this folder with the pinned Bun, which is installed first where it is missing.

import { ensureDependencies, run, runtime } from "./machine.mjs";

ensureDependencies();
process.exit(run(runtime("bun"), process.argv.slice(2)));
