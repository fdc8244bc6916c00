// Installs the pinned dependencies when they are missing or old; nothing else.

import { ensureDependencies } from "./machine.mjs";

ensureDependencies();
