import { Field } from "../http1/field-names.ts";
import type { RequestHead } from "../http1/head.ts";

/** Refusals as gRPC clients understand them: a status, in an answer that is a head alone. */

export function isGrpc({ fields }: RequestHead): boolean {
  const line = fields.lineOf(Field.contentType);
  return line !== -1 && fields.startsWith(line, "application/grpc") && !fields.startsWith(line, "application/grpc-web");
}

/** The codes of gRPC that say best what a status of HTTP says; UNKNOWN for the others. */
const codes: Readonly<Record<number, number>> = {
  400: 3, // INVALID_ARGUMENT
  403: 7, // PERMISSION_DENIED
  404: 5, // NOT_FOUND
  405: 12, // UNIMPLEMENTED
  407: 16, // UNAUTHENTICATED
  408: 4, // DEADLINE_EXCEEDED
  409: 9, // FAILED_PRECONDITION
  413: 8, // RESOURCE_EXHAUSTED
  414: 3,
  415: 3,
  421: 3,
  429: 8,
  431: 8,
  500: 13, // INTERNAL
  501: 12,
  502: 14, // UNAVAILABLE
  503: 14,
  504: 4,
};

/** @param refusal fields of the answer that HTTP would get, `:status` first. */
export function grpcFields(refusal: readonly string[], status: number, message: string): string[] {
  const fields = [":status", "200", "content-type", "application/grpc"];
  fields.push("grpc-status", String(codes[status] ?? 2), "grpc-message", percentEncoded(message));
  for (let at = 2; at < refusal.length; at += 2) {
    const name = refusal[at] ?? "";
    if (!ofBody.has(name)) fields.push(name, refusal[at + 1] ?? "");
  }
  return fields;
}

const ofBody: ReadonlySet<string> = new Set(["content-type", "content-length"]);

/** Printable ASCII but the percent sign stays as it is. */
function percentEncoded(message: string): string {
  let encoded = "";
  for (const byte of Buffer.from(message, "utf8")) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}
