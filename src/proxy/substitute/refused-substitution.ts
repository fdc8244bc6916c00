import type { CredentialKey } from "../../domain/services/service.ts";
import { AppError, UpstreamFailed } from "../../errors.ts";

/**
 * A request whose placeholder cannot be replaced where it stands. It is refused rather than sent with the placeholder
 * in it: the agent would take the upstream's complaint for an answer to what it meant.
 */
export class RefusedSubstitution extends AppError {
  override readonly status: 400 | 413 | 415;

  constructor(status: 400 | 413 | 415, code: string, message: string, hint?: string) {
    super(code, message, hint === undefined ? {} : { hint });
    this.status = status;
  }
}

/** The value is at fault: it holds what cannot stand there, or would mean something there. */
export function valueUnusable(key: CredentialKey, problem: string): UpstreamFailed {
  return new UpstreamFailed("credential_unusable", `The value of ${key} ${problem}`, {
    details: { credential_keys: [key] },
  });
}
