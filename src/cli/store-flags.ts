/** The flags of a credential store outside: `vault create` and `vault credential-store set`. */
import { UsageError } from "../errors.ts";

export const infisicalFlags = {
  "infisical-project-id": { type: "string", description: "infisical: project" },
  "infisical-environment": { type: "string", description: "infisical: environment, such as prod" },
  "infisical-path": { type: "string", default: "/", description: "infisical: folder of the secrets" },
  "poll-interval-seconds": {
    type: "string",
    valueHint: "int",
    default: "60",
    description: "infisical: seconds between synchronisations, at least 10",
  },
} as const;

export interface InfisicalFlags {
  readonly "infisical-project-id": string | undefined;
  readonly "infisical-environment": string | undefined;
  readonly "infisical-path": string;
  readonly "poll-interval-seconds": string;
}

/**
 * The store as the API takes it; an empty object for the built-in one.
 * @throws {UsageError} when flags of one store go with another, or one is missing.
 */
export function infisicalConfig(kind: string | undefined, args: InfisicalFlags, given: ReadonlySet<string>) {
  if (kind !== "infisical") {
    const stray = Object.keys(infisicalFlags).find((name) => given.has(name));
    if (stray) throw new UsageError("stray_flag", `--${stray} goes with an infisical store only`);
    return {};
  }
  const { "infisical-project-id": project, "infisical-environment": environment } = args;
  if (!project || !environment) {
    throw new UsageError(
      "store_flags_missing",
      "A store of the kind infisical needs --infisical-project-id and --infisical-environment",
    );
  }
  const seconds = Number(args["poll-interval-seconds"]);
  if (seconds < 10) {
    throw new UsageError("bad_poll_interval", `--poll-interval-seconds cannot be ${args["poll-interval-seconds"]}`, {
      hint: "give 10 or more",
    });
  }
  return {
    kind,
    config: { project_id: project, environment, secret_path: args["infisical-path"] },
    poll_interval_seconds: seconds,
  };
}
