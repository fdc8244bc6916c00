/** Placeholders: which texts are safe to replace, and on which surfaces (spec of the API, section 2.3). */
import { InvalidInput } from "../../errors.ts";
import { isCredentialKey } from "../credentials/key.ts";
import { InputObject, quote } from "../input.ts";
import type { Substitution, Surface } from "./service.ts";

const surfaces = ["path", "query", "header", "body", "websocket"] as const;
const defaultSurfaces: readonly Surface[] = ["path", "query"];
const convention = "(recommended convention: __name__)";

/** @throws {InvalidInput} whose message begins with `substitution <i>: `. */
export function parseSubstitutions(list: readonly unknown[]): readonly Substitution[] {
  const parsed: Substitution[] = [];
  for (const [index, item] of list.entries()) {
    try {
      const substitution = parseSubstitution(item);
      const earlier = parsed.findIndex((other) => other.placeholder === substitution.placeholder);
      if (earlier >= 0) {
        throw invalid(`placeholder ${quote(substitution.placeholder)} already declared by substitution ${earlier}`);
      }
      parsed.push(substitution);
    } catch (error) {
      throw error instanceof InvalidInput ? invalid(`substitution ${index}: ${error.message}`) : error;
    }
  }
  return parsed;
}

function parseSubstitution(value: unknown): Substitution {
  const input = new InputObject(value, "invalid_service");
  const key = input.string("key") ?? "";
  if (key === "") throw invalid('"key" is required');
  if (!isCredentialKey(key)) throw invalid(`key ${quote(key)} must be UPPER_SNAKE_CASE (e.g. STRIPE_KEY)`);
  const placeholder = input.string("placeholder") ?? "";
  const problem = placeholderProblem(placeholder);
  if (problem !== undefined) throw invalid(problem);
  return { key, placeholder, in: parseSurfaces(input.strings("in") ?? []) };
}

/**
 * A placeholder is replaced wherever it occurs, so it must not be a word that turns up by itself, and must survive URLs
 * unescaped (RFC 3986, section 2.3: unreserved characters).
 */
function placeholderProblem(placeholder: string): string | undefined {
  if (placeholder === "") return `"placeholder" is required ${convention}`;
  const shown = `placeholder ${quote(placeholder)}`;
  if (Buffer.byteLength(placeholder) < 4) return `${shown} is too short — must be at least 4 characters ${convention}`;
  const stray = /[^A-Za-z0-9_.~-]/u.exec(placeholder)?.[0];
  if (stray !== undefined) {
    return `${shown} contains disallowed character '${stray}' — only RFC 3986 unreserved characters [A-Za-z0-9_-.~] are permitted ${convention}`;
  }
  if (!/[A-Za-z0-9]/.test(placeholder))
    return `${shown} must contain at least one alphanumeric character ${convention}`;
  if (!/__|[.~-]/.test(placeholder)) {
    return `${shown} must contain a delimiter — either "__" or a character outside [A-Za-z0-9_] — to avoid matching legitimate URL words ${convention}`;
  }
  return undefined;
}

function parseSurfaces(names: readonly string[]): readonly Surface[] {
  if (names.length === 0) return defaultSurfaces;
  const parsed: Surface[] = [];
  for (const name of names) {
    if (!isSurface(name)) {
      throw invalid(`invalid substitution surface ${quote(name)} — must be one of ${surfaces.join(", ")}`);
    }
    if (parsed.includes(name)) throw invalid(`substitution surface ${quote(name)} listed more than once`);
    parsed.push(name);
  }
  return parsed;
}

function isSurface(text: string): text is Surface {
  return (surfaces as readonly string[]).includes(text);
}

function invalid(message: string): InvalidInput {
  return new InvalidInput("invalid_service", message);
}
