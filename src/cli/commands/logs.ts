/** The request log of a vault: a page, live, or all of it as a file. */
import type { Client } from "../../client/client.ts";
import type { LogFilter, LogPage, LogRow } from "../../client/wire.ts";
import { UsageError } from "../../errors.ts";
import { addressFlag, type CliContext, command, jsonFlag, vaultFlag } from "../command.ts";
import { asAnyone, resolveVault } from "../connect.ts";
import { formatTime, note, paint, printable, printJson, printTable, type Style, singleLine } from "../output.ts";

/** The most that the API gives at once. */
const pageRows = 200;

export const logsCommand = command({
  meta: {
    name: "logs",
    group: "Work",
    description: "Show the requests that went through a vault, the newest last",
    details:
      "Bodies, headers and queries are never recorded. --follow goes on until it is interrupted, and through restarts " +
      "of the server. --export prints everything that the filters let through, however much it is.",
    examples: [
      "agent-vault logs --errors --since 2h",
      "agent-vault logs --follow --service github",
      "agent-vault logs --vault billing --export csv > requests.csv",
      "agent-vault logs --json --limit 1000",
    ],
  },
  args: {
    vault: vaultFlag,
    address: addressFlag,
    follow: { type: "boolean", alias: "f", description: "Go on with what is requested from now on" },
    limit: { type: "string", valueHint: "int", default: "50", description: "Rows to show" },
    errors: { type: "boolean", description: "Only refused and failed requests" },
    status: { type: "string", options: ["2xx", "3xx", "4xx", "5xx", "err"], description: "Only these statuses" },
    service: { type: "string", description: "Only this service" },
    method: { type: "string", description: "Only this method" },
    host: { type: "string", description: "Only this host, with whatever port, or this host:port" },
    actor: { type: "string", description: "Only this person or agent: e-mail address, name or id" },
    session: { type: "string", description: "Only this session, by its id" },
    "error-code": { type: "string", description: "Only this error code, such as no_match" },
    "request-id": { type: "string", description: "Only this request" },
    tunnels: { type: "boolean", description: "Tunnels that have ended, instead of requests" },
    timings: { type: "boolean", description: "Where the time went, in milliseconds, instead of who asked" },
    since: { type: "string", description: "Only since a time (RFC 3339), or a while ago: 30s, 15m, 2h, 7d" },
    until: { type: "string", description: "Only before a time, likewise" },
    export: { type: "string", options: ["ndjson", "csv"], description: "Print all of it in this format" },
    json: { ...jsonFlag, description: "Print JSON with the field names of the API; one row a line with --follow" },
  },
  async run({ args, given, context }) {
    const limit = Number(args.limit);
    if (limit < 1) throw new UsageError("bad_flag_value", "--limit must be at least 1");
    if (args.errors && args.status !== undefined && args.status !== "err") {
      throw new UsageError("conflicting_flags", "--errors and --status exclude each other");
    }
    if (args.timings && (args.follow || args.json || args.export)) {
      throw new UsageError("conflicting_flags", "--timings is a table; --json and --export have all of it already");
    }
    if (args.export && (args.follow || args.json || given.has("limit"))) {
      throw new UsageError(
        "conflicting_flags",
        "--export prints everything; --follow, --json and --limit do not go with it",
      );
    }
    const filter: LogFilter = {
      ...(args.tunnels && { ingress: "tunnel" }),
      status_bucket: args.errors ? "err" : args.status,
      service: args.service,
      method: args.method?.toUpperCase(),
      host: args.host,
      actor: args.actor,
      session: args.session,
      error_code: args["error-code"],
      request_id: args["request-id"],
      since: parseMoment("--since", args.since),
      until: parseMoment("--until", args.until),
    };
    const vault = await resolveVault(context, args.vault);
    await asAnyone(context, args, async (client) => {
      if (args.export)
        return exportAll(context, client.exportLogs(vault, args.export === "csv" ? "csv" : "ndjson", filter));
      const page = await readPages(client, vault, { filter, limit });
      if (args.follow) return follow(context, { client, vault, filter, page, isJson: args.json });
      if (args.json) return printJson(context.terminal, page);
      if (args.timings) printTimings(context, vault, page.logs ?? []);
      else printRows(context, vault, page.logs ?? []);
    });
  },
});

async function readPages(
  client: Client,
  vault: string,
  { filter, limit }: { readonly filter: LogFilter; readonly limit: number },
): Promise<LogPage> {
  const first = await client.listLogs(vault, { ...filter, limit: Math.min(limit, pageRows) });
  const logs = [...(first.logs ?? [])];
  let next = first.next_cursor;
  while (next !== null && logs.length < limit) {
    const page = await client.listLogs(vault, {
      ...filter,
      before: next,
      limit: Math.min(limit - logs.length, pageRows),
    });
    logs.push(...(page.logs ?? []));
    next = page.next_cursor;
  }
  return { ...first, logs, next_cursor: next };
}

function printRows({ terminal }: CliContext, vault: string, rows: readonly LogRow[]): void {
  printTable(terminal, {
    head: ["TIME", "STATUS", "METHOD", "HOST", "PATH", "SERVICE", "ACTOR", "MS", "ERROR"],
    rows: [...rows]
      .reverse()
      .map((row) => [
        formatTime(row.created_at, { hasSeconds: true }),
        statusOf(row),
        row.method,
        hostOf(row),
        row.path,
        row.matched_service || "-",
        row.actor_name || row.actor_id || "-",
        String(row.latency_ms),
        row.error_code || "-",
      ]),
    empty: `No requests in the log of the vault "${printable(vault)}".`,
  });
}

/** Of a connection that was there already nothing is told: it took no time. */
function printTimings({ terminal }: CliContext, vault: string, rows: readonly LogRow[]): void {
  const ms = (value: number | null | undefined) => (typeof value === "number" ? String(value) : "-");
  const spent = (row: LogRow, value: number | null | undefined) => (row.upstream_reused ? "reused" : ms(value));
  printTable(terminal, {
    head: ["TIME", "STATUS", "METHOD", "HOST", "PATH", "MS", "QUEUE", "DNS", "CONNECT", "TLS", "FIRST BYTE", "ERROR"],
    rows: [...rows]
      .reverse()
      .map((row) => [
        formatTime(row.created_at, { hasSeconds: true }),
        statusOf(row),
        row.method,
        hostOf(row),
        row.path,
        ms(row.latency_ms),
        ms(row.queue_ms),
        spent(row, row.dns_ms),
        spent(row, row.connect_ms),
        spent(row, row.tls_ms),
        ms(row.upstream_ms),
        row.error_code || "-",
      ]),
    empty: `No requests in the log of the vault "${printable(vault)}".`,
  });
}

interface Following {
  readonly client: Client;
  readonly vault: string;
  readonly filter: LogFilter;
  readonly page: LogPage;
  readonly isJson: boolean;
}

async function follow(context: CliContext, { client, vault, filter, page, isJson }: Following): Promise<void> {
  const print = (row: LogRow) =>
    context.terminal.outSlowly(`${isJson ? printable(JSON.stringify(row)) : lineOf(context, row)}\n`);
  for (const row of [...(page.logs ?? [])].reverse()) await print(row);
  for await (const row of client.followLogs(vault, filter, page.latest_id)) {
    if (row === undefined) note(context.terminal, "The connection was lost; trying again …");
    else await print(row);
  }
}

function lineOf({ terminal }: CliContext, row: LogRow): string {
  const style: Style = row.status >= 500 ? "red" : row.status >= 400 || row.error_code ? "yellow" : "green";
  const parts = [
    paint(terminal, "gray", formatTime(row.created_at, { hasSeconds: true })),
    paint(terminal, style, statusOf(row)),
    singleLine(row.method).padEnd(6),
    singleLine(`${hostOf(row)}${row.path}`),
    paint(terminal, "gray", singleLine(`${row.matched_service || "-"} ${row.actor_name || row.actor_id || "-"}`)),
    `${row.latency_ms} ms`,
    ...(row.error_code ? [paint(terminal, style, singleLine(row.error_code))] : []),
  ];
  return parts.join("  ");
}

/** `200`, or `200 ×15` for a row that stands for several requests. */
function statusOf({ status, request_count: count = 1 }: LogRow): string {
  return count > 1 ? `${status} ×${count}` : String(status);
}

/** Without the port that goes without saying. */
function hostOf({ host, scheme }: LogRow): string {
  return host.replace(scheme === "http" ? /:80$/ : /:443$/, "");
}

async function exportAll({ terminal }: CliContext, pieces: AsyncIterable<string>): Promise<void> {
  let rest = "";
  for await (const piece of pieces) {
    // A piece may end between the two characters of a line end.
    const text = rest + piece;
    rest = text.endsWith("\r") ? "\r" : "";
    await terminal.outSlowly(printableLines(rest === "" ? text : text.slice(0, -1)));
  }
  await terminal.outSlowly(printableLines(rest));
}

/** As `printable`, which leaves JSON valid and changes no harmless cell; the line ends of CSV stay. */
function printableLines(text: string): string {
  return text.split("\r\n").map(printable).join("\r\n");
}

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** @throws {UsageError} unless it is a time, or how long ago. */
function parseMoment(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const [, amount, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (amount !== undefined) return new Date(Date.now() - Number(amount) * (units[unit] ?? 0)).toISOString();
  const time = new Date(text);
  if (!/^\d{4}-\d\d-\d\d/.test(text) || Number.isNaN(time.getTime())) {
    throw new UsageError(
      "bad_flag_value",
      `${flag} must be a time such as 2026-01-31T12:00:00Z, or a while ago such as 2h`,
    );
  }
  return time.toISOString();
}
