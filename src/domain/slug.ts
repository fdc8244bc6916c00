import { InvalidInput } from "../errors.ts";

const slug = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/** Names of vaults, agents and services: 3 to 64 of `a-z 0-9 -`, no hyphen at an end, no two in a row. */
export function isSlug(text: string): boolean {
  return text.length >= 3 && text.length <= 64 && slug.test(text);
}

/**
 * @param what names the thing in the message: `Agent name`.
 * @throws {InvalidInput} `invalid_name`.
 */
export function parseSlug(text: string, what: string): string {
  if (isSlug(text)) return text;
  throw new InvalidInput(
    "invalid_name",
    `${what} must be 3 to 64 lowercase letters, digits and single hyphens, and begin and end with a letter or digit`,
  );
}
