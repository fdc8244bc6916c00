/**
 * Lists page by page. A page begins behind the last row of the one before, named by the columns that the list is ordered
 * by: rows that come or go in between neither repeat nor hide others, and no page costs more than the first.
 */
import { type RawBuilder, sql } from "kysely";
import { InvalidInput } from "../errors.ts";
import { isStorable } from "./input.ts";

/** What a client asks for; undefined in the place of one means the whole list. */
export interface PageRequest {
  readonly limit: number;
  /** The key of the last row that the client has. It comes from outside: any texts at all. */
  readonly after: readonly string[] | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** For the next page; undefined on the last one. */
  readonly next: readonly string[] | undefined;
}

/** Rows to ask the database for: one more than wanted tells whether there are more. */
export function rowsToRead(page: PageRequest): number {
  return page.limit + 1;
}

/** Cuts the rows that were read for a page, and says where the next one begins. */
export function cutPage<T>(
  rows: readonly T[],
  page: PageRequest | undefined,
  keyOf: (row: T) => readonly string[],
): Page<T> {
  if (page === undefined || rows.length <= page.limit) return { items: rows, next: undefined };
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  return { items, next: last === undefined ? undefined : keyOf(last) };
}

export function mapPage<T, R>({ items, next }: Page<T>, change: (item: T) => R): Page<R> {
  return { items: items.map(change), next };
}

type Kind = "text" | "time" | "integer";

/**
 * The key of a cursor, checked against what the list is ordered by. A cursor that somebody made up can name no more than a
 * place in a list that its maker may read anyway.
 * @throws {InvalidInput} `invalid_cursor`.
 */
export function keyAfter(page: PageRequest | undefined, ...kinds: readonly Kind[]): readonly string[] | undefined {
  const key = page?.after;
  if (key === undefined) return undefined;
  const fits = key.length === kinds.length && kinds.every((kind, index) => isOfKind(key[index] ?? "", kind));
  if (!fits) throw invalidCursor();
  return key;
}

export function invalidCursor(): InvalidInput {
  return new InvalidInput("invalid_cursor", "The cursor does not belong to this list; begin again without one");
}

/** As stored (see schema.ts). */
const timePattern = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;

function isOfKind(value: string, kind: Kind): boolean {
  switch (kind) {
    case "text":
      return isStorable(value);
    case "time":
      // 31 February has the form and is no time.
      return timePattern.test(value) && new Date(value).toISOString() === value;
    case "integer":
      return /^\d{1,9}$/.test(value);
  }
}

/** `(a, b) > (x, y)`: both engines compare rows column by column and use an index for it. */
export function isBehind(
  columns: readonly string[],
  key: readonly string[],
  order: "asc" | "desc" = "asc",
): RawBuilder<boolean> {
  const left = sql.join(columns.map((column) => sql.ref(column)));
  const right = sql.join(key.map((value) => sql`${value}`));
  return order === "asc" ? sql<boolean>`(${left}) > (${right})` : sql<boolean>`(${left}) < (${right})`;
}
