/**
 * Request paths, decoded for matching only when every server would read them the same way. A path that an upstream
 * might resolve to another one (`/api/..%2fadmin`) would carry a credential out of the scope it was given for.
 */

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Characters that cannot start any of the readings below; most paths consist of them and need no second look. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: everything but printable ASCII is what is looked for
const needsLook = /[%\\;\u0000-\u0020\u007f-\uffff]|\/[./]/;

/**
 * The percent-decoded path, or undefined when it is ambiguous: dot segments (also before a `;parameter`), empty segments,
 * backslashes, encoded dots, slashes, backslashes or control characters, double encoding, escapes that are not UTF-8.
 * @param path as on the wire, without query.
 */
export function decodePath(path: string): string | undefined {
  if (!needsLook.test(path)) return path;
  // Bytes beyond ASCII have no place in a request target (RFC 3986, section 2) and no agreed encoding.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: everything but printable ASCII is what is looked for
  if (/[\u0000-\u0020\u007f-\uffff]/.test(path)) return undefined;
  // Unencoded dots are judged as segments below; an encoded one only ever hides.
  if (/%(2e|2f|5c)/i.test(path)) return undefined;
  const decoded = percentDecode(path);
  if (decoded === undefined || !isCanonicalPath(decoded)) return undefined;
  return decoded;
}

/**
 * A decoded path as servers see it that drop `;parameters` from every segment before they look for a handler (those
 * of the Java world do); undefined when what is left is ambiguous. To others the parameters are part of the name, so
 * a rule must judge both readings alike.
 */
export function withoutParameters(path: string): string | undefined {
  if (!path.includes(";")) return path;
  const bare = path.replaceAll(/;[^/]*/g, "");
  return isCanonicalPath(bare) ? bare : undefined;
}

/** No reading of this (decoded) path leads anywhere else. */
export function isCanonicalPath(path: string): boolean {
  // Some servers fold look-alikes such as U+FF0F and U+2025 into the ASCII characters they resemble.
  const folded = path.normalize("NFKC");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\\\u0000-\u001f\u007f]|\/\/|%[0-9a-f]{2}/i.test(folded)) return false;
  if (folded.split("/").length !== path.split("/").length) return false;
  return !folded.split("/").some((segment) => isDotSegment(segment));
}

/** `.`, `..`, and what some servers trim to them: parameters after `;` (RFC 3986, section 3.3), blanks, more dots. */
function isDotSegment(segment: string): boolean {
  return /^[.\s]+$/.test(segment.split(";", 1)[0] ?? "");
}

function percentDecode(path: string): string | undefined {
  if (!path.includes("%")) return path;
  const bytes: number[] = [];
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at);
    if (code !== 0x25) {
      bytes.push(code);
      continue;
    }
    const digits = path.slice(at + 1, at + 3);
    if (!/^[0-9a-f]{2}$/i.test(digits)) return undefined;
    bytes.push(Number.parseInt(digits, 16));
    at += 2;
  }
  try {
    return utf8.decode(Uint8Array.from(bytes));
  } catch {
    // Not UTF-8 (RFC 3629 forbids overlong forms, which once smuggled dots and slashes).
    return undefined;
  }
}
