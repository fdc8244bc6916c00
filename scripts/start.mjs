// `npm start`: builds what is missing and runs the server on its embedded default. Arguments go to the server.

import { spawn } from "node:child_process";
import { binary, ensureBinary, ensureDependencies } from "./machine.mjs";

ensureDependencies();
ensureBinary();

const server = spawn(binary, ["server", ...process.argv.slice(2)], { stdio: "inherit" });
// A terminal sends Ctrl-C to the server as well; the other signals reach only this process.
process.on("SIGINT", () => undefined);
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => server.kill(signal));
server.on("exit", (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
