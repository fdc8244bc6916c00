import { TooLarge } from "../errors.ts";
import type { Inbound } from "./inbound.ts";
import { RefusedRequest } from "./refusal.ts";

/** What is refused of any request, whoever makes it and wherever it goes. */

const ordinaryMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/**
 * @param maxBytes of a body.
 * @throws {RefusedRequest} 405 `method_not_allowed`.
 * @throws {TooLarge} `request_too_large`, where the length is declared.
 */
export function checkRequest({ head, framing }: Inbound, maxBytes: number): void {
  // Methods are case-sensitive, but not to every server; TRACK is TRACE to some.
  if (!ordinaryMethods.has(head.method) && /^(trace|track|connect)$/i.test(head.method)) {
    // TRACE would echo the injected credential; a CONNECT inside of a tunnel would leave every rule behind.
    throw new RefusedRequest(405, "method_not_allowed", `${head.method} is not served here`);
  }
  if (framing.kind === "length" && framing.length > maxBytes) throw requestTooLarge(maxBytes);
}

export function requestTooLarge(maxBytes: number): TooLarge {
  return new TooLarge("request_too_large", `The request body is larger than ${maxBytes} bytes`);
}
