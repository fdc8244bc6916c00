/**
 * The one error hierarchy. The class is the kind of failure and fixes the HTTP status and the exit code;
 * the `code` is a stable word that clients may branch on.
 *
 * `message`, `details` and `hint` are safe to show to whoever asked. `cause` is for the log only.
 * None of them ever holds a credential, a token, or the parameters of a query.
 */

export interface AppErrorOptions {
  /** Machine-readable facts, safe to show: they become extra keys of a JSON error. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** One thing that would work, as a sentence or a command: `agent-vault vault list`. */
  readonly hint?: string;
  /** Seconds after which trying again is worthwhile; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** A failure that we understand. Anything else that is thrown is a bug and is rendered as `internal`. */
export abstract class AppError extends Error {
  /** HTTP status of this kind (RFC 9110, section 15). */
  abstract readonly status: number;
  /** Exit code of a command that ends with this error: 2 for usage, 1 for the rest (spec of the command line). */
  readonly exitCode: number = 1;
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly hint: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: string, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.details = options.details ?? {};
    this.hint = options.hint;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** What was sent or typed breaks a rule; the message says which and what would work. */
export class InvalidInput extends AppError {
  override readonly status: number = 400;
}

/** A command line that cannot be understood: exit code 2. */
export class UsageError extends InvalidInput {
  override readonly exitCode = 2;
}

/** No valid proof of identity was presented. */
export class Unauthenticated extends AppError {
  override readonly status = 401;
}

/** The identity is known and may not do this. */
export class Forbidden extends AppError {
  override readonly status = 403;
}

export class NotFound extends AppError {
  override readonly status = 404;
}

/** The state of the thing does not allow this, or a race was lost. */
export class Conflict extends AppError {
  override readonly status = 409;
}

/** It existed and is over: a used or expired invitation, an expired link. */
export class Gone extends AppError {
  override readonly status = 410;
}

/** The caller named the state that it wants to change (`If-Match`), and that is not the state any more. */
export class PreconditionFailed extends AppError {
  override readonly status = 412;
}

export class TooLarge extends AppError {
  override readonly status = 413;
}

export class RateLimited extends AppError {
  override readonly status = 429;
}

/** Something that we called failed or answered nonsense (502), or not in time (504). */
export class UpstreamFailed extends AppError {
  override readonly status: number;

  constructor(code: string, message: string, options: AppErrorOptions & { readonly status?: 502 | 504 } = {}) {
    super(code, message, options);
    this.status = options.status ?? 502;
  }
}

/** We cannot serve right now: the database is away, we are draining, nothing is initialised. */
export class Unavailable extends AppError {
  override readonly status = 503;
}

/** A stored record does not open or parse: altered, moved, or written by something else. */
export class Corrupt extends AppError {
  override readonly status = 500;
}

/** The message of anything that was thrown, for logs. Never shown to a caller unless it is an `AppError`. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
