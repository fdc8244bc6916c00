/** The request log of a vault: page by page, followed live, exported (spec of the API, section 10). */
import type { Access } from "../../domain/actors/access.ts";
import type { Principal } from "../../domain/actors/principal.ts";
import type { Journal } from "../../domain/journal.ts";
import type { JournalRow } from "../../domain/journal-query.ts";
import type { JournalTails, TailEvent } from "../../domain/journal-tail.ts";
import { Forbidden, InvalidInput, NotFound } from "../../errors.ts";
import { json, jsonText } from "../answer.ts";
import { exportLogs, followLogs, listLogs } from "../contracts/logs.ts";
import {
  csvHead,
  formatCsvRow,
  formatJournalRow,
  formatRowEvent,
  parseCount,
  parseJournalFilter,
} from "../journal-wire.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";
import { textStream } from "../text-stream.ts";

export interface JournalDependencies {
  readonly access: Access;
  readonly journal: Journal;
  readonly tails: JournalTails;
}

const defaultRows = 50;
const maxRows = 200;
const exportRows = 500;
/** After this time without a byte taken, a follower is cut off. */
const slowAfterMs = 30_000;

export function registerJournalRoutes(router: ApiRouter, dependencies: JournalDependencies): void {
  registerList(router, dependencies);
  registerTail(router, dependencies);
  registerExport(router, dependencies);
}

function registerList(router: ApiRouter, { access, journal }: JournalDependencies): void {
  router.on(listLogs, async (request) => {
    const { vault } = await access.vault(request.principal, request.params.name, "member");
    const before = parseCount(request.query("before") ?? request.query("cursor"));
    const after = parseCount(request.query("after"));
    if (before !== undefined && after !== undefined) {
      throw new InvalidInput("conflicting_cursors", "before and after are mutually exclusive");
    }
    const limit = Math.min(parseCount(request.query("limit")) ?? defaultRows, maxRows);
    const page = await journal.list(vault.id, { ...parseJournalFilter(request), limit, before, after });
    return json({ logs: page.rows.map(formatJournalRow), next_cursor: page.nextCursor, latest_id: page.latestId });
  });
}

/** Server-sent events: `log` with a row each, `end` with the reason, and a comment every 15 seconds. */
function registerTail(router: ApiRouter, { access, tails }: JournalDependencies): void {
  router.on(followLogs, async (request) => {
    const { vault } = await access.vault(request.principal, request.params.name, "member");
    const contentType = "text/event-stream";
    if (request.method === "HEAD") return new Response(null, { headers: { "content-type": contentType } });
    const tail = await tails.open({
      vaultId: vault.id,
      filter: parseJournalFilter(request),
      after: parseCount(request.headers.get("last-event-id") ?? request.query("after")),
      reader: readerOf(request.principal),
      isAllowed: () => isStillAllowed(access, request, vault.id),
    });
    // Sent at once, so that a client knows that it is connected and where it is.
    let first: string | undefined = `retry: 2000\nid: ${tail.position}\n: following\n\n`;
    let isOver = false;
    return textStream(
      {
        async next() {
          if (isOver) return undefined;
          const opening = first;
          first = undefined;
          if (opening !== undefined) return opening;
          const event = await tail.next();
          isOver = event.kind === "end";
          return formatTailEvent(event);
        },
        close: () => tail.close(),
        slow: {
          afterMs: slowAfterMs,
          lastWords: () => formatTailEvent({ kind: "end", reason: "too_slow", position: tail.position }),
        },
      },
      contentType,
      // A reverse proxy that collects answers would show nothing.
      { headers: { "x-accel-buffering": "no" } },
    );
  });
}

function formatTailEvent(event: TailEvent): string {
  switch (event.kind) {
    case "rows":
      return event.rows.map(formatRowEvent).join("");
    case "quiet":
      return `: quiet\nid: ${event.position}\n\n`;
    case "end":
      return `event: end\nid: ${event.position}\ndata: ${jsonText({ reason: event.reason })}\n\n`;
  }
}

/** Everything that the filters let through up to now, the oldest first. */
function registerExport(router: ApiRouter, { access, journal }: JournalDependencies): void {
  router.on(exportLogs, async (request) => {
    const { vault } = await access.vault(request.principal, request.params.name, "member");
    const format = exportFormats.get(request.query("format") || "ndjson");
    if (format === undefined) throw new InvalidInput("invalid_format", "format must be ndjson or csv");
    const filter = parseJournalFilter(request);
    const upTo = await journal.latestId(vault.id);
    const headers = { "content-disposition": `attachment; filename="${vault.name}-requests.${format.extension}"` };
    if (request.method === "HEAD") return new Response(null, { headers: { ...headers, "content-type": format.type } });
    let after = 0;
    let head = format.head;
    let isLast = false;
    return textStream(
      {
        async next() {
          for (;;) {
            if (isLast) return undefined;
            if (!(await isStillAllowed(access, request, vault.id))) throw new Error("the right to read has ended");
            const page = await journal.read(vault.id, { ...filter, after, upTo, limit: exportRows });
            after = page.next;
            isLast = after >= upTo;
            const text = head + page.rows.map(format.row).join("");
            head = "";
            if (text !== "") return text;
          }
        },
        close: () => undefined,
      },
      format.type,
      { headers },
    );
  });
}

interface ExportFormat {
  readonly type: string;
  readonly extension: string;
  readonly head: string;
  readonly row: (row: JournalRow) => string;
}

const exportFormats: ReadonlyMap<string, ExportFormat> = new Map([
  [
    "ndjson",
    {
      type: "application/x-ndjson",
      extension: "ndjson",
      head: "",
      row: (row) => `${jsonText(formatJournalRow(row))}\n`,
    },
  ],
  ["csv", { type: "text/csv; charset=utf-8", extension: "csv", head: csvHead, row: formatCsvRow }],
]);

/** The token, the role and the vault of that name, read anew. */
async function isStillAllowed(
  access: Access,
  request: ApiRequest<unknown, never, "name">,
  vaultId: string,
): Promise<boolean> {
  try {
    const principal = await request.findPrincipal();
    if (principal === undefined) return false;
    const { vault } = await access.vault(principal, request.params.name, "member");
    return vault.id === vaultId;
  } catch (error) {
    if (error instanceof NotFound || error instanceof Forbidden) return false;
    throw error;
  }
}

function readerOf(principal: Principal): string {
  return principal.kind === "scoped" ? `session:${principal.sessionId}` : `${principal.kind}:${principal.id}`;
}
