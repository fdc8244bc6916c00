import type { HeaderList } from "../http1/fields.ts";
import type { Scanner } from "./scanner.ts";

/** Text of one character per byte, such as a reason phrase, without injected values; the same string when it holds none. */
export function scrubText(scanner: Scanner, text: string): string {
  if (text === "") return text;
  const before = scanner.count;
  const bytes = Buffer.from(text, "latin1");
  const passed = scanner.push(bytes);
  const rest = scanner.end();
  return scanner.count === before ? text : passed.toString("latin1") + rest.toString("latin1");
}

/**
 * Headers or trailers without injected values: the same list when they hold none. A header whose name holds one is
 * dropped, for a marker is no name.
 *
 * @param scanner must hold nothing back: use one of its own, not that of a body.
 * @throws {UpstreamFailed} `credential_in_answer`, in the mode `block`.
 */
export function scrubHeaders(scanner: Scanner, headers: HeaderList): HeaderList {
  // One look at all of them: nearly always there is nothing to find, and no value spans a line break.
  const before = scanner.count;
  const joined = scrubText(scanner, headers.join("\n"));
  if (scanner.count === before) return headers;
  const found = scanner.count - before;
  const scrubbed: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? "";
    const value = scrubText(scanner, headers[i + 1] ?? "");
    if (scrubText(scanner, name) === name) scrubbed.push(name, value);
  }
  // In the mode `detect` nothing changes; and nothing is counted twice.
  scanner.count = before + found;
  return joined === headers.join("\n") ? headers : scrubbed;
}
