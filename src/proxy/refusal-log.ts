import { AppError, Corrupt, messageOf, Unavailable } from "../errors.ts";
import type { Logger } from "../log.ts";

/**
 * What the operator hears of a refusal. One that only the operator can end (a credential that is missing, does not open
 * or cannot be renewed; a database that is away) is a warning. What agents and upstreams bring about is their business:
 * it is in the journal, and its cause in the log at debug, so that nobody outside can fill the log.
 */
export function logRefusal(
  log: Logger,
  error: unknown,
  { requestId, code }: { requestId: string; code: string },
): void {
  if (!(error instanceof AppError)) log.error("proxy_failure", { requestId, error });
  else if (isOperatorsBusiness(error)) {
    log.warn("request_not_served", { requestId, code, message: error.message, cause: causeOf(error) });
  } else if (error.cause !== undefined && log.enabled("debug")) {
    log.debug("proxy_refusal", { requestId, code, cause: causeOf(error) });
  }
}

function isOperatorsBusiness(error: AppError): boolean {
  if (error.status < 500) return false;
  return error instanceof Unavailable || error instanceof Corrupt || /^(?:credential|oauth)_/.test(error.code);
}

function causeOf({ cause }: AppError): string | undefined {
  return cause === undefined ? undefined : messageOf(cause);
}
