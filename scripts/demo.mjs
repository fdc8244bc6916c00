// `npm run demo`: builds what is missing and shows a brokered request against an upstream on this machine.

import { ensureBinary, ensureDependencies, ensureTestNames, pinnedEnvironment, run, runtime } from "./machine.mjs";

ensureDependencies();
ensureTestNames();
ensureBinary();
process.exit(run(runtime("bun"), ["scripts/demo.ts"], { env: pinnedEnvironment() }));
