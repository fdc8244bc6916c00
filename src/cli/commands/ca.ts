import { resolve } from "node:path";
import type { Client } from "../../client/client.ts";
import type { Roots } from "../../client/wire.ts";
import { parseDuration } from "../../config/variables.ts";
import { NotFound, UsageError } from "../../errors.ts";
import { writeAtomically } from "../../runtime/files.ts";
import { addressFlag, type CliContext, command, jsonFlag, publicAddressFlag } from "../command.ts";
import { confirm } from "../confirm.ts";
import { anonymousClient, asPerson, resolveAddress } from "../connect.ts";
import { formatTime, note, printJson, printTable } from "../output.ts";

const fetchCa = command({
  meta: {
    name: "fetch",
    description: "Print the proxy's root certificate (PEM), both of them during a rotation",
    examples: ["agent-vault ca fetch -o agent-vault-ca.pem"],
  },
  args: {
    output: { type: "string", alias: "o", completes: "file", description: "File to write instead of standard output" },
    json: jsonFlag,
    address: publicAddressFlag,
  },
  async run({ args, context }) {
    const authority = await anonymousClient(await resolveAddress(context, args.address)).proxyAuthority();
    if (!authority) {
      throw new NotFound("proxy_disabled", "The server runs without its proxy, so it has no root certificate", {
        hint: "its --mitm-port is 0, or was in use when it started: its log says so",
      });
    }
    if (args.output === undefined) {
      if (args.json) return printJson(context.terminal, { certificate: authority.pem, mitm_port: authority.port });
      return context.terminal.out(authority.pem);
    }
    const file = resolve(context.workingDirectory, args.output);
    // Public by nature: programs of other users may need to read it.
    await writeAtomically(file, authority.pem, 0o644);
    if (args.json) return printJson(context.terminal, { file, mitm_port: authority.port });
    note(context.terminal, `The root certificate is in ${file}`);
  },
});

const status = command({
  meta: { name: "status", description: "Show the root certificates: which one signs, and how far a rotation is" },
  args: { address: addressFlag, json: jsonFlag },
  async run({ args, context }) {
    show(context, await asPerson(context, args, (client) => client.roots()), args.json);
  },
});

const words = {
  active: "signs",
  next: "trusted, signs next",
  retired: "trusted, signs no more",
} as const;

function show({ terminal }: CliContext, answer: Roots, isJson: boolean): void {
  if (isJson) {
    printJson(terminal, answer);
    return;
  }
  printTable(terminal, {
    head: ["STATE", "FINGERPRINT", "EXPIRES", "GOES ON"],
    rows: answer.roots.map((root) => [
      words[root.state],
      root.fingerprint_sha256.slice(0, 16),
      formatTime(root.expires_at),
      root.due_at === undefined ? (root.state === "active" ? "-" : "by hand") : formatTime(root.due_at),
    ]),
    empty: "There is no root certificate yet: the proxy has never run.",
  });
}

/** One step, and what somebody should know before it is taken. */
interface Step {
  readonly question: string | undefined;
  readonly take: (client: Client) => Promise<Roots>;
}

const steps = {
  activate: {
    question:
      "From now on the new root certificate signs. Programs that fetched the certificate before the rotation began fail until they fetch it again. Activate it?",
    take: (client) => client.goOnRotating("activate"),
  },
  finish: {
    question: "The old root certificate is not handed out any more, and its key is destroyed. Finish?",
    take: (client) => client.goOnRotating("finish"),
  },
  cancel: { question: undefined, take: (client) => client.cancelRotation() },
} as const satisfies Record<string, Step>;

const rotate = command({
  meta: {
    name: "rotate",
    description: "Replace the proxy's root certificate, step by step",
    details:
      "Without a flag a new root is made. It is handed out beside the old one at once, and signs after the overlap or\n" +
      "with --activate; the old one goes after as long again, or with --finish. Programs that fetch the certificate in\n" +
      "between trust both, as do those that run starts.",
    examples: [
      "agent-vault ca rotate --overlap 720h",
      "agent-vault ca rotate --activate",
      "agent-vault ca rotate --finish",
    ],
  },
  args: {
    overlap: {
      type: "string",
      shownDefault: "168h",
      description:
        "How long both are handed out before, and after, the new one signs; 0: until --activate and --finish",
    },
    activate: { type: "boolean", description: "The new root signs from now on" },
    finish: { type: "boolean", description: "Forget the old root" },
    cancel: { type: "boolean", description: "Take the new root back before it has signed anything" },
    yes: { type: "boolean", alias: "y", description: "Do not ask" },
    address: addressFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const chosen = (["activate", "finish", "cancel"] as const).filter((name) => args[name]);
    const [name] = chosen;
    if (chosen.length > 1 || (name !== undefined && args.overlap !== undefined)) {
      throw new UsageError(
        "one_step",
        "A rotation goes on one step at a time: --overlap, --activate, --finish or --cancel",
      );
    }
    const step: Step =
      name === undefined
        ? { question: undefined, take: (client) => client.startRotation(secondsOf(args.overlap ?? "168h")) }
        : steps[name];
    if (step.question !== undefined && !(await confirm(context, step.question, args.yes))) return 1;
    show(context, await asPerson(context, args, step.take), args.json);
    return 0;
  },
});

/** @throws {UsageError} `bad_overlap`. */
function secondsOf(text: string): number {
  const milliseconds = parseDuration(text.trim());
  if (milliseconds !== undefined) return Math.round(milliseconds / 1000);
  throw new UsageError("bad_overlap", `--overlap cannot be "${text}"`, { hint: "a duration such as 168h, or 0" });
}

export const caCommand = command({
  meta: { name: "ca", group: "Work", description: "The root certificate of the proxy" },
  subCommands: { fetch: async () => fetchCa, rotate: async () => rotate, status: async () => status },
});
