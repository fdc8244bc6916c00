/**
 * Pages of lists on the wire. A client that sends neither `limit` nor `cursor` gets the whole list, as ever; one that
 * sends either gets at most `limit` items (100) and `next_cursor`, null on the last page.
 */
import { invalidCursor, type Page, type PageRequest } from "../domain/page.ts";
import { InvalidInput } from "../errors.ts";
import type { ApiRequest } from "./router.ts";

const defaultItems = 100;
/** More is cut to this. */
const maxItems = 1_000;
const maxCursorCharacters = 2_048;

/** @throws {InvalidInput} `invalid_limit`, `invalid_cursor`. */
export function parsePage(request: ApiRequest<unknown, "limit" | "cursor">): PageRequest | undefined {
  const limit = request.query("limit");
  const cursor = request.query("cursor");
  if (limit === undefined && cursor === undefined) return undefined;
  return { limit: parseLimit(limit || String(defaultItems)), after: cursor ? parseCursor(cursor) : undefined };
}

function parseLimit(text: string): number {
  if (!/^\d{1,15}$/.test(text) || Number(text) === 0) {
    throw new InvalidInput("invalid_limit", `limit must be a whole number from 1 to ${maxItems}`);
  }
  return Math.min(Number(text), maxItems);
}

/** Opaque to clients: the key of the last item as JSON, in base64url. */
export function parseCursor(text: string): readonly string[] {
  if (text.length > maxCursorCharacters || !/^[\w-]+$/.test(text)) throw invalidCursor();
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(text, "base64url")));
  } catch {
    throw invalidCursor();
  }
  if (!Array.isArray(value) || !value.every((part) => typeof part === "string")) throw invalidCursor();
  return value;
}

/** The part of an answer that says where to go on; nothing for a client that asked for no page. */
export function nextCursor(request: PageRequest | undefined, { next }: Page<unknown>): { next_cursor?: string | null } {
  if (request === undefined) return {};
  return { next_cursor: next === undefined ? null : formatCursor(next) };
}

export function formatCursor(key: readonly string[]): string {
  return Buffer.from(JSON.stringify(key)).toString("base64url");
}
