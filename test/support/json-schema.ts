/** The part of JSON Schema 2020-12 that our own schemas use, in the few lines that it takes. */

export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

const annotations = ["$schema", "title", "description", "then", "else"];

/** What is wrong with a value, as `path: reason`; empty when nothing is. @throws {Error} on a keyword it does not know. */
export function violations(schema: JsonSchema, value: unknown, path = "$"): string[] {
  if (typeof schema === "boolean") return schema ? [] : [`${path}: must not be there`];
  return Object.entries(schema).flatMap(([keyword, rule]) => {
    if (annotations.includes(keyword)) return [];
    const check = keywords[keyword];
    if (check === undefined) throw new Error(`Keyword ${keyword} is not known to this reader`);
    return check({ rule, schema, value, path });
  });
}

interface Case {
  readonly rule: unknown;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly value: unknown;
  readonly path: string;
}

const keywords: Readonly<Record<string, (given: Case) => string[]>> = {
  type: ({ rule, value, path }) => unless(typeOf(value) === rule, `${path}: must be of type ${rule}`),
  enum: ({ rule, value, path }) => unless((rule as unknown[]).includes(value), `${path}: must be one of ${rule}`),
  const: ({ rule, value, path }) => unless(value === rule, `${path}: must be ${rule}`),
  pattern: ({ rule, value, path }) =>
    unless(typeof value !== "string" || new RegExp(rule as string, "u").test(value), `${path}: must match ${rule}`),
  minLength: ({ rule, value, path }) => unless(!(lengthOf(value) < (rule as number)), `${path}: is too short`),
  maxLength: ({ rule, value, path }) => unless(!(lengthOf(value) > (rule as number)), `${path}: is too long`),
  minItems: ({ rule, value, path }) => unless(!(lengthOf(value) < (rule as number)), `${path}: has too few items`),
  minProperties: ({ rule, value, path }) =>
    unless(Object.keys(recordOf(value)).length >= (rule as number), `${path}: has too few members`),
  uniqueItems: ({ value, path }) =>
    unless(!Array.isArray(value) || new Set(value).size === value.length, `${path}: repeats an item`),
  required: ({ rule, value, path }) =>
    (rule as string[]).flatMap((name) => unless(name in recordOf(value), `${path}.${name}: is missing`)),
  properties: ({ rule, value, path }) =>
    Object.entries(rule as Record<string, JsonSchema>).flatMap(([name, inner]) =>
      name in recordOf(value) ? violations(inner, recordOf(value)[name], `${path}.${name}`) : [],
    ),
  additionalProperties: ({ rule, schema, value, path }) =>
    Object.entries(recordOf(value))
      .filter(([name]) => !(name in recordOf(schema.properties)))
      .flatMap(([name, inner]) => violations(rule as JsonSchema, inner, `${path}.${name}`)),
  propertyNames: ({ rule, value, path }) =>
    Object.keys(recordOf(value)).flatMap((name) => violations(rule as JsonSchema, name, `${path}.${name}`)),
  items: ({ rule, value, path }) =>
    Array.isArray(value)
      ? value.flatMap((item, index) => violations(rule as JsonSchema, item, `${path}[${index}]`))
      : [],
  allOf: ({ rule, value, path }) => (rule as JsonSchema[]).flatMap((inner) => violations(inner, value, path)),
  if: ({ rule, schema, value, path }) => {
    const branch = violations(rule as JsonSchema, value, path).length === 0 ? schema.then : schema.else;
    return branch === undefined ? [] : violations(branch as JsonSchema, value, path);
  },
};

function unless(isRight: boolean, complaint: string): string[] {
  return isRight ? [] : [complaint];
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeOf(value) === "object" ? (value as Record<string, unknown>) : {};
}

/** Of what has no length, a number that breaks no rule. */
function lengthOf(value: unknown): number {
  return typeof value === "string" || Array.isArray(value) ? value.length : Number.NaN;
}
