import { UsageError } from "../errors.ts";

/** Flags of a command that has a vault token made: `run` and `vault token`. */
export const sessionFlags = {
  ttl: {
    type: "string",
    valueHint: "int",
    description: "Seconds that the token lives, 300 to 604800; a day when absent",
  },
  role: {
    type: "string",
    options: ["proxy", "member", "admin"],
    description: "Role of the token",
    shownDefault: "proxy",
  },
  label: { type: "string", description: "Name of the token in the list of tokens" },
} as const;

/** @throws {UsageError} for a lifetime out of range. */
export function sessionRequest(args: { ttl: string | undefined; role: string | undefined; label: string | undefined }) {
  const seconds = args.ttl === undefined ? 0 : Number(args.ttl);
  // 0 has always meant "the server's default".
  if (seconds !== 0 && (seconds < 300 || seconds > 604_800)) {
    throw new UsageError("bad_ttl", `--ttl cannot be ${args.ttl}`, { hint: "give --ttl 300 to 604800 seconds" });
  }
  return {
    ...(seconds === 0 ? {} : { ttl_seconds: seconds }),
    ...(args.role === undefined ? {} : { vault_role: args.role }),
    ...(args.label === undefined ? {} : { label: args.label }),
  };
}
