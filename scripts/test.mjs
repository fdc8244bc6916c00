// `npm test`: installs what is missing, builds the binary and runs every test. The last line is
// `N passed, N failed`. Arguments go to vitest, for a run of a few files on Bun alone: npm test -- test/net

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ensureBinary,
  ensureDependencies,
  ensurePackages,
  ensureTestNames,
  pinnedEnvironment,
  root,
  run,
  runtime,
} from "./machine.mjs";

const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const filters = process.argv.slice(2);

const total = { passed: 0, failed: 0 };
// Whatever ends this script early, a machine that reads the last line is told of a failure.
process.on("exit", (code) => {
  if (code !== 0 && total.failed === 0) total.failed = 1;
  console.log(`${total.passed} passed, ${total.failed} failed`);
});

ensureDependencies();
ensurePackages();
ensureTestNames();
if (filters.length === 0 || filters.some((filter) => /binary|attacks/.test(filter))) ensureBinary();

const bun = [runtime("bun"), "--bun", vitest, "run", "--pool=threads"];
const suites =
  filters.length > 0
    ? [{ name: "Bun", command: [...bun, ...filters] }]
    : [
        { name: "Bun (all tests)", command: bun },
        { name: "Node (portable tests)", command: [runtime("node"), vitest, "run", "--project=portable"] },
        {
          name: "Deno (portable tests)",
          command: [runtime("deno"), "run", "-A", vitest, "run", "--project=portable", "--pool=forks"],
        },
      ];

for (const suite of suites) {
  const { passed, failed } = runSuite(suite);
  total.passed += passed;
  total.failed += failed;
}
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);

/** Runs one suite and counts from vitest's own report, so that a run which crashed half way cannot look green. */
function runSuite({ name, command }) {
  console.log(`\n== ${name}`);
  const folder = mkdtempSync(join(tmpdir(), "agent-vault-test-"));
  const report = join(folder, "report.json");
  try {
    const [program, ...args] = command;
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    const code = run(program, [...args, ...reporters], {
      env: pinnedEnvironment({ NO_COLOR: "1" }),
      stdio: ["ignore", 1, 2],
    });
    const { passed, failed } = countTests(report);
    if (code !== 0 && failed === 0) {
      console.log(`${name}: vitest ended with exit code ${code} although no test failed; counted as one failure`);
      return { passed, failed: 1 };
    }
    return { passed, failed };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function countTests(report) {
  try {
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
    // A file that does not even load has no tests to fail.
    const brokenFiles = testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
    return { passed: numPassedTests, failed: numFailedTests + brokenFiles.length };
  } catch (error) {
    console.log(`No readable report from vitest: ${error.message}`);
    return { passed: 0, failed: 1 };
  }
}
