// `npm run demo`: builds what is missing and shows a brokered request against an upstream on this machine.

import {
  demoPackages,
  ensureBinary,
  ensureDependencies,
  ensurePackages,
  ensureTestNames,
  pinnedEnvironment,
  run,
  runtime,
} from "./machine.mjs";

ensureDependencies();
ensurePackages(demoPackages);
ensureTestNames();
ensureBinary();
process.exit(run(runtime("bun"), ["scripts/demo.ts"], { env: pinnedEnvironment() }));
