import type { CredentialKey } from "../../domain/services/service.ts";
import { valueUnusable } from "./refused-substitution.ts";

/**
 * How a value is written where a placeholder stood (spec of the API, section 2.3). All encoders give text of one
 * character per byte, like heads and bodies.
 *
 * @throws {UpstreamFailed} `credential_unusable` when the value cannot be written there.
 */
export type ValueEncoder = (value: string, key: CredentialKey) => string;

export const bytesOf = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

export const encodeRaw: ValueEncoder = (value) => bytesOf(value);

/** Header values (RFC 9110, section 5.5): a line break would begin another header. */
export const encodeHeader: ValueEncoder = (value, key) => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) {
    throw valueUnusable(key, "holds a line break or another control character, which no header may carry");
  }
  return bytesOf(value);
};

/** One segment of a path, or a part of one: `/`, `?`, `#`, `%` and `;` are escaped, so no segment begins or ends in it. */
export const encodePath: ValueEncoder = (value, key) => {
  // Some servers read %2F and %5C as separators before they resolve dots.
  if (value === "" || value.split(/[/\\]/).some((segment) => /^\.{1,2}$/.test(segment)) || value.includes("\0")) {
    throw valueUnusable(key, "would change the shape of the path: it is empty, or has a segment of dots");
  }
  return percentEncode(value, /[A-Za-z0-9._~$&+:=@-]/);
};

/** Queries and forms (application/x-www-form-urlencoded). */
export const encodeQuery: ValueEncoder = (value) => percentEncode(value, /[A-Za-z0-9._~ -]/).replaceAll(" ", "+");

/** The inside of a JSON string (RFC 8259, section 7); `<`, `>` and `&` as well, for pages that quote it. */
export const encodeJson: ValueEncoder = (value) =>
  bytesOf(
    JSON.stringify(value)
      .slice(1, -1)
      .replaceAll(
        /[<>&\u2028\u2029\u007f]/g,
        (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
      ),
  );

/** Text and attribute values of XML 1.0, which has no way to write most control characters (section 2.2). */
export const encodeXml: ValueEncoder = (value, key) => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(value)) {
    throw valueUnusable(key, "holds a control character, which XML cannot carry");
  }
  return bytesOf(value.replaceAll(/[<>&"'\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`));
};

function percentEncode(value: string, plain: RegExp): string {
  return [...bytesOf(value)]
    .map((byte) => (plain.test(byte) ? byte : `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`))
    .join("");
}
