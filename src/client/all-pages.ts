/** A whole list from a server that gives it page by page. */

interface Page {
  readonly limit: string;
  readonly cursor: string | undefined;
}

/** Items that are asked for at once. */
const pageItems = 500;

/**
 * What belongs to `fields` of each answer is joined, the rest is the first answer's. A server without pages gives
 * everything at once.
 */
export async function readAllPages<T extends object>(
  ask: (page: Page) => Promise<T & { readonly next_cursor?: string | null }>,
  fields: readonly (keyof T & string)[],
): Promise<T> {
  const { next_cursor: begin, ...whole } = await ask({ limit: String(pageItems), cursor: undefined });
  const joined = whole as unknown as Record<string, readonly unknown[] | null | undefined>;
  const seen = new Set<string>();
  // A cursor that comes again would never end.
  for (let cursor = begin; cursor && !seen.has(cursor); ) {
    seen.add(cursor);
    const page = await ask({ limit: String(pageItems), cursor });
    for (const field of fields) {
      const more = page[field] as readonly unknown[] | null | undefined;
      if (more) joined[field] = [...(joined[field] ?? []), ...more];
    }
    cursor = page.next_cursor;
  }
  return whole as unknown as T;
}
