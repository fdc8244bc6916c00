/** JSON Schema 2020-12, as OpenAPI 3.1 uses it, in the few words that our answers need. */

export interface Schema {
  readonly [keyword: string]: unknown;
  /** Under which name the document has it once for all who use it. */
  readonly [schemaName]?: string;
}

export const schemaName: unique symbol = Symbol("schema name");
const isOptional: unique symbol = Symbol("optional");

export function named(name: string, schema: Schema): Schema {
  return { ...schema, [schemaName]: name };
}

export function text(description?: string, more: Schema = {}): Schema {
  return { type: "string", ...about(description), ...more };
}

export function flag(description?: string): Schema {
  return { type: "boolean", ...about(description) };
}

export function whole(description?: string, more: Schema = {}): Schema {
  return { type: "integer", ...about(description), ...more };
}

export function real(description?: string, more: Schema = {}): Schema {
  return { type: "number", ...about(description), ...more };
}

export function choice(values: readonly string[], description?: string): Schema {
  return { type: "string", enum: [...values], ...about(description) };
}

export function constant(value: string | boolean | number): Schema {
  return { const: value };
}

export function listOf(items: Schema, description?: string, more: Schema = {}): Schema {
  return { type: "array", items, ...about(description), ...more };
}

export function mapOf(values: Schema, description?: string): Schema {
  return { type: "object", additionalProperties: values, ...about(description) };
}

/** A member of `shape` that is left out when there is nothing to say. */
export function maybe(schema: Schema): Schema {
  return { ...schema, [isOptional]: true };
}

export function nullable(schema: Schema): Schema {
  return { oneOf: [schema, { type: "null" }] };
}

export function oneOf(...schemas: readonly Schema[]): Schema {
  return { oneOf: schemas };
}

/** An object; every member is there unless it is a `maybe`. More may be added later, which clients ignore. */
export function shape(members: Readonly<Record<string, Schema>>, description?: string): Schema {
  const required = Object.entries(members).flatMap(([name, member]) => (isOptional in member ? [] : [name]));
  return {
    type: "object",
    ...about(description),
    properties: members,
    ...(required.length > 0 && { required }),
  };
}

/** RFC 3339, UTC, whole seconds. */
export function time(description?: string): Schema {
  return text(description, { format: "date-time" });
}

export function uuid(description?: string): Schema {
  return text(description, { format: "uuid" });
}

function about(description: string | undefined): Schema {
  return description === undefined ? {} : { description };
}
