import { InvalidInput } from "../errors.ts";

/** Names of vaults, agents and services: 3 to 64 of `a-z 0-9 -`, no hyphen at an end, no two in a row. */
export function isSlug(text: string): boolean {
  return slugProblem(text) === undefined;
}

/** Which of these rules a name breaks, as the rest of a sentence about it; undefined when none. */
export function slugProblem(text: string): string | undefined {
  if (text.length < 3) return "must be at least 3 characters";
  if (text.length > 64) return "must be at most 64 characters";
  if (!/^[a-z0-9-]*$/.test(text)) return "must contain only lowercase letters, digits, and hyphens";
  if (text.startsWith("-") || text.endsWith("-")) return "must not start or end with a hyphen";
  return text.includes("--") ? "must not contain consecutive hyphens" : undefined;
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
