/** Request targets as the API reads them (spec, section 1.4). */

/** NUL counts: nothing here has it in its name, and PostgreSQL takes a query for it as broken. */
const malformedEscape = /%(?![0-9a-fA-F]{2})|%00/;

/** The path of a request target as it is on the wire, and its query without the question mark. */
export interface RawTarget {
  readonly path: string;
  readonly query: string;
}

/** Splits an origin-form or absolute-form target (RFC 9112, section 3.2) without normalising anything. */
export function splitTarget(target: string): RawTarget {
  const withoutOrigin = target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "");
  const withoutFragment = withoutOrigin.split("#", 1)[0] ?? "";
  const mark = withoutFragment.indexOf("?");
  if (mark < 0) return { path: withoutFragment || "/", query: "" };
  return { path: withoutFragment.slice(0, mark) || "/", query: withoutFragment.slice(mark + 1) };
}

export function hasMalformedEscape(path: string): boolean {
  return malformedEscape.test(path);
}

/**
 * Removes empty, `.` and `..` segments. Encoded dots are ordinary characters: they are data of one segment.
 * A trailing slash is kept.
 */
export function cleanPath(path: string): string {
  const kept: string[] = [];
  const segments = path.split("/");
  const last = segments.at(-1);
  for (const segment of segments) {
    if (segment === "..") kept.pop();
    else if (segment !== "" && segment !== ".") kept.push(segment);
  }
  const isDirectory = kept.length > 0 && (last === "" || last === "." || last === "..");
  return `/${kept.join("/")}${isDirectory ? "/" : ""}`;
}

/** Percent-decodes one segment or query part; bytes that are not UTF-8 become U+FFFD. */
export function decodeSegment(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    const bytes = segment.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
    return Buffer.from(bytes, "latin1").toString("utf8");
  }
}

/**
 * Query parameters: `+` is a blank, of a repeated name the first wins, and a pair that holds `;` or a malformed escape
 * is dropped as if it were absent.
 */
export function parseQuery(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split("&")) {
    if (pair === "" || pair.includes(";") || malformedEscape.test(pair)) continue;
    const equals = pair.indexOf("=");
    const [rawName, rawValue] = equals < 0 ? [pair, ""] : [pair.slice(0, equals), pair.slice(equals + 1)];
    const name = decodeSegment(rawName.replaceAll("+", " "));
    if (!parameters.has(name)) parameters.set(name, decodeSegment(rawValue.replaceAll("+", " ")));
  }
  return parameters;
}
