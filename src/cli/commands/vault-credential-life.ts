import { UsageError } from "../../errors.ts";
import { command, jsonFlag, yesFlag } from "../command.ts";
import { confirm } from "../confirm.ts";
import { asAnyone, resolveVault } from "../connect.ts";
import { formatTime, printJson, printTable, success } from "../output.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };

const keyArgument = { type: "positional", description: "Name of the credential" } as const;

/** What may be noted beside a value. */
export const detailFlags = {
  description: { type: "string", description: "What it is for; an empty text removes it" },
  expires: {
    type: "string",
    valueHint: "date",
    description: "When it ends, such as 2027-01-31: you are reminded, nothing is refused; an empty text removes it",
  },
} as const;

/** Undefined when neither flag was given. */
export function detailsOf(args: { readonly description: string | undefined; readonly expires: string | undefined }) {
  if (args.description === undefined && args.expires === undefined) return undefined;
  return {
    ...(args.description !== undefined && { description: args.description }),
    ...(args.expires !== undefined && { expires_at: args.expires }),
  };
}

export const editCommand = command({
  meta: {
    name: "edit",
    description: "Note what a credential is for and when it ends",
    examples: ['agent-vault vault credential edit STRIPE_KEY --description "live, read only" --expires 2027-01-31'],
  },
  args: { key: keyArgument, ...detailFlags, json: jsonFlag },
  async run({ args, context }) {
    const details = detailsOf(args);
    if (details === undefined) {
      throw new UsageError("missing_flag", "There is nothing to change", {
        hint: "--description TEXT, --expires DATE",
      });
    }
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const entry = await asAnyone(context, {}, (client) => client.annotateCredential(vault, args.key, details));
    if (args.json) return printJson(context.terminal, entry);
    success(context.terminal, `Noted for ${args.key}`);
  },
});

export const versionsCommand = command({
  meta: { name: "versions", description: "List the values that a credential had, without showing them" },
  args: { key: keyArgument, json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asAnyone(context, {}, (client) => client.credentialVersions(vault, args.key));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["VERSION", "SET", "BY", ""],
      rows: answer.versions.map(({ version, created_at: at, created_by: by, current }) => [
        String(version),
        formatTime(at),
        by?.name ?? "-",
        current ? "current" : "",
      ]),
      empty: `No values of ${args.key} are kept.`,
    });
  },
});

export const restoreCommand = command({
  meta: {
    name: "restore",
    description: "Make an earlier value of a credential the current one",
    details: "It becomes a new version, so this can be undone in the same way. An OAuth connection of the key ends.",
    examples: ["agent-vault vault credential restore STRIPE_KEY 3"],
  },
  args: {
    key: keyArgument,
    version: { type: "positional", description: "Number of the version, see versions" },
    yes: yesFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const version = /^[1-9]\d{0,8}$/.test(args.version) ? Number(args.version) : undefined;
    if (version === undefined) {
      throw new UsageError("bad_version", "The version must be a number", {
        hint: `agent-vault vault credential versions ${args.key}`,
      });
    }
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const question = `Requests will use version ${version} of ${args.key} from now on. Restore?`;
    if (!(await confirm(context, question, args.yes))) return;
    const answer = await asAnyone(context, {}, (client) => client.restoreCredential(vault, args.key, version));
    if (args.json) return printJson(context.terminal, answer);
    success(
      context.terminal,
      `Version ${answer.restored} of ${args.key} is current again, as version ${answer.version}`,
    );
  },
});
