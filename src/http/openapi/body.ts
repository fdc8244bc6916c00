/**
 * Bodies that parse and describe themselves: what a route reads of a body and what the document says about it are one
 * declaration. Rules about values stay where they belong, in the domain; here are the types.
 */
import { Fields } from "../fields.ts";
import { flag, listOf, mapOf, real, type Schema, text, whole } from "./schema.ts";

/** One field: how it is read, and what it looks like. */
export interface Field<T> {
  readonly schema: Schema;
  /** A body without it is refused; by the route itself, with a sentence of its own. */
  readonly isNeeded: boolean;
  /** @throws {InvalidInput} for a wrong type. */
  read(from: Fields, name: string): T;
}

export type FieldsOf<Members> = { readonly [Name in keyof Members]: Members[Name] extends Field<infer T> ? T : never };
type Members = Readonly<Record<string, Field<unknown>>>;

export interface Body<T> {
  readonly schema: Schema;
  /** Nothing may follow the JSON value. */
  readonly isWhole: boolean;
  /** The route works without one, or with one that says nothing. */
  readonly isOptional: boolean;
  /** @throws {InvalidInput} for a value that is no object, and for the first field of a wrong type. */
  parse(value: unknown): T;
}

export interface BodyOptions {
  readonly isWhole?: boolean;
  readonly isOptional?: boolean;
  /** Of messages about wrong types: `Invalid services: `. */
  readonly prefix?: string;
}

export function body<const M extends Members>(members: M, options: BodyOptions = {}): Body<FieldsOf<M>> {
  return {
    schema: schemaOf(members),
    isWhole: options.isWhole ?? false,
    isOptional: options.isOptional ?? !Object.values(members).some(({ isNeeded }) => isNeeded),
    parse: (value) => readAll(members, new Fields(value, options.prefix)),
  };
}

/** The field of a needed text is empty when it is missing, so that one check finds both. */
export function needed(field: Field<string | undefined>): Field<string>;
export function needed<T>(field: Field<T>): Field<T>;
export function needed(field: Field<unknown>): Field<unknown> {
  const isText = field.schema.type === "string";
  return {
    schema: field.schema,
    isNeeded: true,
    read: (from, name) => field.read(from, name) ?? (isText ? "" : undefined),
  };
}

export function string(schema: Schema = text()): Field<string | undefined> {
  return field(schema, (from, name) => from.string(name));
}

export function boolean(description?: string): Field<boolean | undefined> {
  return field(flag(description), (from, name) => from.boolean(name));
}

export function integer(schema: Schema = whole()): Field<number | undefined> {
  return field(schema, (from, name) => from.integer(name));
}

export function number(schema: Schema = real()): Field<number | undefined> {
  return field(schema, (from, name) => from.number(name));
}

export function strings(schema: Schema = listOf(text())): Field<readonly string[] | undefined> {
  return field(schema, (from, name) => from.strings(name));
}

/** A map from name to text. */
export function texts(schema: Schema = mapOf(text())): Field<Readonly<Record<string, string>> | undefined> {
  return field(schema, (from, name) => from.texts(name));
}

/** A list whose items a parser of the domain reads, which is where `item` comes from too. */
export function rawList(item: Schema, description?: string): Field<readonly unknown[] | undefined> {
  return field(listOf(item, description), (from, name) => from.list(name));
}

export function object<const M extends Members>(members: M, description?: string): Field<FieldsOf<M> | undefined> {
  return field({ ...schemaOf(members), ...(description && { description }) }, (from, name) => {
    const inner = from.object(name);
    return inner && readAll(members, inner);
  });
}

export function objects<const M extends Members>(
  members: M,
  description?: string,
): Field<readonly FieldsOf<M>[] | undefined> {
  return field(listOf(schemaOf(members), description), (from, name) =>
    from.objects(name)?.map((item) => readAll(members, item)),
  );
}

/** A map whose names are matched exactly. */
export function objectMap<const M extends Members>(
  members: M,
  description?: string,
): Field<ReadonlyMap<string, FieldsOf<M>> | undefined> {
  return field(mapOf(schemaOf(members), description), (from, name) => {
    const entries = from.entries(name);
    return entries && new Map(entries.map(([key, value]) => [key, readAll(members, new Fields(value))]));
  });
}

/** A field that `null` sets back: null then, undefined when it is not mentioned. */
export function resettable<T>(field: Field<T | undefined>): Field<T | null | undefined> {
  return {
    schema: { ...field.schema, type: [field.schema.type, "null"] },
    isNeeded: false,
    read: (from, name) => (from.mentions(name) ? (field.read(from, name) ?? null) : undefined),
  };
}

function field<T>(schema: Schema, read: (from: Fields, name: string) => T): Field<T> {
  return { schema, isNeeded: false, read };
}

function readAll<M extends Members>(members: M, from: Fields): FieldsOf<M> {
  const values = Object.entries(members).map(([name, member]) => [name, member.read(from, name)]);
  // The members and their types are those of `members`, which no signature of fromEntries can say.
  return Object.fromEntries(values) as FieldsOf<M>;
}

function schemaOf(members: Members): Schema {
  const required = Object.entries(members).flatMap(([name, { isNeeded }]) => (isNeeded ? [name] : []));
  return {
    type: "object",
    properties: Object.fromEntries(Object.entries(members).map(([name, { schema }]) => [name, schema])),
    ...(required.length > 0 && { required }),
  };
}
