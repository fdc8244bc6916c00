/** The fields of a JSON body. */
import { InputObject } from "../domain/input.ts";

/** As every input, with what only JSON bodies hold: numbers, and objects within objects. */
export class Fields extends InputObject {
  /**
   * @param prefix of the messages about its fields.
   * @throws {InvalidInput} `invalid_body` unless `value` is an object; `null` counts as an empty one.
   */
  constructor(value: unknown, prefix = "Invalid request body: ") {
    super(value, "invalid_body", prefix);
  }

  has(name: string): boolean {
    return this.value(name) !== undefined;
  }

  /** A whole number; a fraction is a wrong type. Values beyond 2^53 lose precision, not magnitude. */
  integer(name: string): number | undefined {
    const value = this.value(name);
    if (value === undefined || (typeof value === "number" && Number.isInteger(value))) return value;
    throw this.wrongType(name, "a whole number");
  }

  number(name: string): number | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "number") return value;
    throw this.wrongType(name, "a number");
  }

  /** As everywhere, but a `null` among them is an empty text. */
  override strings(name: string): readonly string[] | undefined {
    return this.list(name)?.map((item) => {
      if (item === null) return "";
      return this.storable(name, item);
    });
  }

  /** A nested object, as its own fields. */
  object(name: string): Fields | undefined {
    const value = this.value(name);
    return value === undefined ? undefined : new Fields(value);
  }

  /** A nested object whose names are data, and are taken as they are. */
  entries(name: string): readonly (readonly [string, unknown])[] | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw this.wrongType(name, "an object");
    return Object.entries(value);
  }

  /** A list of objects, each as its own fields. */
  objects(name: string): readonly Fields[] | undefined {
    return this.list(name)?.map((item) => new Fields(item));
  }
}
