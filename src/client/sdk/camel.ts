/** The names of the API, `created_at`, as they are usual in TypeScript: `createdAt`. */

type CamelName<Name> = Name extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelName<Tail>>}` : Name;

/** These hold names that are data, or objects that are sent back as they came. */
const opaque = ["services", "auth", "headers", "substitutions", "details"] as const;
type Opaque = (typeof opaque)[number];

/** `T` with its names changed, all the way down. */
export type Camel<T> = T extends readonly (infer Item)[]
  ? readonly Camel<Item>[]
  : T extends object
    ? { readonly [Name in keyof T as CamelName<Name>]: Name extends Opaque ? T[Name] : Camel<T[Name]> }
    : T;

export function camel<T>(value: T): Camel<T> {
  return convert(value) as Camel<T>;
}

function convert(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(convert);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, inner]) => [
    name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
    (opaque as readonly string[]).includes(name) ? inner : convert(inner),
  ]);
  return Object.fromEntries(entries);
}
