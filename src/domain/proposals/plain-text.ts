/** Free text of agents and reviewers, which ends up in terminals, mails and pages. */
import { InvalidInput } from "../../errors.ts";

/** Control characters other than tab and line feed, and those that turn the direction of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const unsafe = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/**
 * The text with what could paint a terminal, or show a text in another order than it has, replaced by `?`, so it never
 * gets longer. Clients print it as it comes, and not all of them are ours.
 * @param maxBytes in UTF-8.
 * @throws {InvalidInput} `invalid_proposal`, when it is longer.
 */
export function plainText(text: string, what: string, maxBytes: number): string {
  if (Buffer.byteLength(text) > maxBytes) {
    throw new InvalidInput("invalid_proposal", `${what} too long (max ${maxBytes} characters)`);
  }
  return text.replaceAll("\r\n", "\n").replace(unsafe, "?");
}

/** The beginning of a text, at most `maxBytes` long, on one line. */
export function excerpt(text: string, maxBytes: number): string {
  const line = text.replace(/\s+/gu, " ").trim();
  if (Buffer.byteLength(line) <= maxBytes) return line;
  let cut = "";
  for (const character of line) {
    if (Buffer.byteLength(cut) + Buffer.byteLength(character) > maxBytes) break;
    cut += character;
  }
  return `${cut}...`;
}
