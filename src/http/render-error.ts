/**
 * An error as JSON: the only place of the API that turns one into an answer.
 *
 * One rule: `{"code": <stable word>, "error": <sentence>, …details}`. The existing clients read `error` only, and the
 * coded errors of the specification have exactly this form. Two answers put the word into `error` and the sentence into
 * `message`, because clients branch on it there: `not_initialized` and `too_many_requests`.
 */
import { AppError, messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import { json } from "./answer.ts";

const brokerCodes = new Set(["not_initialized", "too_many_requests"]);

/** Anything that is not an `AppError` is a bug: logged with the request id, and nothing of it shown. */
export function renderError(error: unknown, requestId: string, log: Logger): Response {
  if (!(error instanceof AppError)) {
    log.error("unexpected failure of an API request", {
      requestId,
      error: messageOf(error),
      stack: error instanceof Error ? error.stack : undefined,
    });
    return json({ error: "internal error", code: "internal", request_id: requestId }, { status: 500 });
  }
  if (error.status >= 500) {
    const cause = error.cause === undefined ? undefined : messageOf(error.cause);
    log.warn("API request failed", { requestId, code: error.code, error: error.message, cause });
  }
  if (brokerCodes.has(error.code)) return brokerError(error);
  const body = { code: error.code, error: error.message, ...error.details, ...hintOf(error) };
  return json(body, { status: error.status, headers: headersOf(error) });
}

/** The form of proxy-side errors: `{"error": <word>, "message": <sentence>}`. */
function brokerError(error: AppError): Response {
  const body = { error: error.code, message: error.message, ...error.details, ...hintOf(error) };
  return json(body, { status: error.status, headers: headersOf(error) });
}

function hintOf(error: AppError): { hint?: string } {
  return error.hint === undefined ? {} : { hint: error.hint };
}

function headersOf(error: AppError): Record<string, string> {
  if (error.retryAfterSeconds === undefined) return {};
  return { "retry-after": String(Math.max(1, Math.ceil(error.retryAfterSeconds))) };
}
