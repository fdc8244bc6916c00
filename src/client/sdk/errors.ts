/** The errors of the package: `AgentVaultError` for everything, `ApiError` where the server refused. */
import { type FailedAnswer, type Failures, whyUnreachable } from "../failures.ts";

/** The server could not be asked, or what was given cannot be used. */
export class AgentVaultError extends Error {
  /** `missing_token`, `invalid_address`, `server_unreachable`, `timeout`, `bad_answer`, `redirected`; or the server's. */
  readonly code: string;

  constructor(message: string, code = "client_error", options: { readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "AgentVaultError";
    this.code = code;
  }
}

export type ApiErrorInit = Pick<FailedAnswer, "status" | "code" | "message" | "headers"> & Partial<FailedAnswer>;

/** The server refused. */
export class ApiError extends AgentVaultError {
  readonly status: number;
  readonly headers: Headers;
  /** Further facts of the answer, such as `candidates` when several services have the host. */
  readonly details: Readonly<Record<string, unknown>>;
  /** What would help, in a sentence or as a command. */
  readonly hint: string | undefined;
  /** When the same may be tried again. Nothing is tried again by itself. */
  readonly retryAfterSeconds: number | undefined;

  constructor({ status, code, message, headers, details = {}, hint, retryAfterSeconds }: ApiErrorInit) {
    super(message, code);
    this.name = "ApiError";
    this.status = status;
    this.headers = headers;
    this.details = details;
    this.hint = hint;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export const sdkFailures: Failures = {
  refused: (answer) => new ApiError(answer),
  unreachable: ({ address, slowMs, cause }) => {
    const code = slowMs === undefined ? "server_unreachable" : "timeout";
    return new AgentVaultError(whyUnreachable(address, slowMs), code, { cause });
  },
  garbled: ({ address, cause }) =>
    new AgentVaultError(`${address} answered something that is not JSON`, "bad_answer", { cause }),
  redirected: ({ address, status }) =>
    new AgentVaultError(`${address} answered with a redirect (${status}); give the final address`, "redirected"),
};
