/**
 * Reading objects that came from JSON or YAML: one field at a time, by exact type. Field names match without regard to
 * ASCII case, unknown ones are ignored and `null` counts as absent (spec of the API, section 0.1).
 */
import { InvalidInput } from "../errors.ts";

export class InputObject {
  readonly #fields = new Map<string, unknown>();
  readonly #code: string;
  readonly #prefix: string;

  /**
   * @param code of the errors that reading a field throws.
   * @param prefix of their messages: `Invalid request body: `.
   * @throws {InvalidInput} unless `value` is an object; `null` and undefined count as an empty one.
   */
  constructor(value: unknown, code: string, prefix = "") {
    this.#code = code;
    this.#prefix = prefix;
    if (value === null || value === undefined) return;
    if (typeof value !== "object" || Array.isArray(value))
      throw new InvalidInput(code, `${prefix}it must be an object`);
    for (const [name, field] of Object.entries(value)) this.#fields.set(name.toLowerCase(), field);
  }

  /** Is the field there at all, even as `null`? */
  mentions(name: string): boolean {
    return this.#fields.has(name);
  }

  /** The field as it came; `null` and a missing one are both undefined. */
  value(name: string): unknown {
    return this.#fields.get(name) ?? undefined;
  }

  string(name: string): string | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw this.wrongType(name, "a string");
    return this.storable(name, value);
  }

  boolean(name: string): boolean | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.wrongType(name, "true or false");
  }

  list(name: string): readonly unknown[] | undefined {
    const value = this.value(name);
    if (value === undefined || Array.isArray(value)) return value;
    throw this.wrongType(name, "a list");
  }

  /** A list of strings; an item of another type is refused. */
  strings(name: string): readonly string[] | undefined {
    return this.list(name)?.map((item) => this.storable(name, item));
  }

  /** A map from name to text; `null` values are empty texts. Names keep their case. */
  texts(name: string): Readonly<Record<string, string>> | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw this.wrongType(name, "an object");
    return Object.fromEntries(
      Object.entries(value).map(([key, text]): [string, string] => {
        if (text === null || text === undefined) return [key, ""];
        if (typeof text !== "string") throw this.wrongType(name, "an object whose values are strings");
        return [key, text];
      }),
    );
  }

  /** A text, alone or in a list, as both databases can keep it. */
  protected storable(name: string, text: unknown): string {
    if (typeof text !== "string") throw this.wrongType(name, "a list of strings");
    if (!isStorable(text)) throw this.wrongType(name, "text without NUL and without half characters");
    return text;
  }

  protected wrongType(name: string, expected: string): InvalidInput {
    return new InvalidInput(this.#code, `${this.#prefix}"${name}" must be ${expected}`);
  }
}

/** PostgreSQL has no NUL in texts, and half of a surrogate pair would be stored as another character. */
export function isStorable(text: string): boolean {
  return !text.includes("\u0000") && text.isWellFormed();
}

/** A text in double quotes for a message, with control characters escaped. */
export function quote(text: string): string {
  return JSON.stringify(text);
}
