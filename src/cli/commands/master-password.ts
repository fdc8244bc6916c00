import { command } from "../command.ts";

const force = {
  type: "boolean",
  description: "With PostgreSQL: do it all the same; every server that shares the database must be stopped",
} as const;
const stdin = (what: string) => ({ type: "boolean", description: `Read ${what} from standard input` }) as const;
const environment = { DATABASE_URL: "PostgreSQL instead of the embedded SQLite; needs --force" };

const set = command({
  meta: { name: "set", description: "Protect a server that has no master password", environment },
  args: { force, "password-stdin": stdin("the new password") },
  async run({ args, context }) {
    const { setMasterPassword } = await import("../serve/rekey.ts");
    await setMasterPassword(context, { isForced: args.force, isPiped: args["password-stdin"] });
  },
});

const change = command({
  meta: { name: "change", description: "Replace the master password", environment },
  args: { force, "password-stdin": stdin("the current, then the new password, one per line,") },
  async run({ args, context }) {
    const { changeMasterPassword } = await import("../serve/rekey.ts");
    await changeMasterPassword(context, { isForced: args.force, isPiped: args["password-stdin"] });
  },
});

const remove = command({
  meta: {
    name: "remove",
    description: "Go without a master password; file permissions then protect the key",
    environment,
  },
  args: { force, "password-stdin": stdin("the current password") },
  async run({ args, context }) {
    const { removeMasterPassword } = await import("../serve/rekey.ts");
    await removeMasterPassword(context, { isForced: args.force, isPiped: args["password-stdin"] });
  },
});

export const masterPasswordCommand = command({
  meta: {
    name: "master-password",
    group: "Server",
    description: "Set, change or remove the password that protects the server's key",
    details: "The server must be stopped. Credentials stay as they are: only the key that opens them is wrapped anew.",
  },
  subCommands: { set: async () => set, change: async () => change, remove: async () => remove },
});
