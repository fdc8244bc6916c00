import type { HeaderList } from "./fields.ts";

/** Looking into a `HeaderList`, off the fast path. Names are given in lower case, and compare without regard to case. */

/** The first value, or `undefined`. */
export function headerOf(headers: HeaderList, lowerName: string): string | undefined {
  const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === lowerName);
  return at === -1 ? undefined : headers[at + 1];
}

/**
 * The elements of a comma-separated header over all of its lines, trimmed, empty ones left out (RFC 9110, section
 * 5.6.1). For lists of tokens such as `Connection`: quoted strings are not understood.
 */
export function listValues(headers: HeaderList, lowerName: string): string[] {
  return headers
    .flatMap((name, index) =>
      index % 2 === 0 && name.toLowerCase() === lowerName ? (headers[index + 1] ?? "").split(",") : [],
    )
    .flatMap((element) => element.trim() || []);
}

/** The lines that `keeps` says yes to. */
export function keepHeaders(headers: HeaderList, keeps: (lowerName: string) => boolean): string[] {
  return headers.flatMap((name, index) =>
    index % 2 === 0 && keeps(name.toLowerCase()) ? [name, headers[index + 1] ?? ""] : [],
  );
}
