/** How results and errors look: tables, JSON, and one-line errors. The only place that turns an error into text for people. */
import { AppError, messageOf } from "../errors.ts";
import type { Terminal } from "../runtime/terminal.ts";
import { nextStep } from "./next-step.ts";

export type Style = "bold" | "green" | "yellow" | "red" | "gray";
const codes: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  green: [32, 39],
  yellow: [33, 39],
  red: [31, 39],
  gray: [90, 39],
};

export function paint(terminal: Pick<Terminal, "hasColor">, style: Style, text: string): string {
  const [on, off] = codes[style];
  return terminal.hasColor ? `\u001b[${on}m${text}\u001b[${off}m` : text;
}

/** As `paint`, for standard error. */
export function paintError(terminal: Pick<Terminal, "hasErrorColor">, style: Style, text: string): string {
  return paint({ hasColor: terminal.hasErrorColor === true }, style, text);
}

/** `✓ Vault "billing" created`, on standard output. */
export function success(terminal: Terminal, sentence: string): void {
  terminal.out(`${paint(terminal, "green", "✓")} ${printable(sentence)}\n`);
}

/** A remark that is not data, on standard error. */
export function note(terminal: Terminal, sentence: string): void {
  terminal.err(`${printable(sentence)}\n`);
}

export function warn(terminal: Terminal, sentence: string): void {
  terminal.err(`${paintError(terminal, "yellow", "warning:")} ${printable(sentence)}\n`);
}

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.out(`${printable(JSON.stringify(value, null, 2))}\n`);
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Said instead of a table without rows. */
  readonly empty: string;
  /** The colour of a cell, by the heading of its column. */
  readonly styleOf?: (head: string, value: string) => Style | undefined;
}

/** Light box-drawing table; a plain sentence when there are no rows. */
export function printTable(terminal: Terminal, { head, rows, empty, styleOf }: Table): void {
  if (rows.length === 0) {
    terminal.out(`${empty}\n`);
    return;
  }
  const cells = rows.map((row) => row.map(singleLine));
  const widths = head.map((title, column) =>
    Math.max(widthOf(title), ...cells.map((row) => widthOf(row[column] ?? ""))),
  );
  const line = (left: string, middle: string, right: string) =>
    `${left}${widths.map((width) => "─".repeat(width + 2)).join(middle)}${right}\n`;
  const render = (row: readonly string[], rowStyle?: Style) =>
    `│${widths
      .map((width, column) => {
        const text = row[column] ?? "";
        const style = rowStyle ?? styleOf?.(head[column] ?? "", text);
        return ` ${style ? paint(terminal, style, text) : text}${" ".repeat(width - widthOf(text))} `;
      })
      .join("│")}│\n`;
  terminal.out(
    line("┌", "┬", "┐") +
      render(head, "bold") +
      line("├", "┼", "┤") +
      cells.map((row) => render(row)).join("") +
      line("└", "┴", "┘"),
  );
}

const statusStyles: Readonly<Record<string, Style>> = {
  pending: "yellow",
  active: "green",
  accepted: "green",
  applied: "green",
  revoked: "red",
  rejected: "red",
  expired: "gray",
};

/** `styleOf` of tables with a column STATUS. */
export function statusStyle(head: string, value: string): Style | undefined {
  return head === "STATUS" && Object.hasOwn(statusStyles, value) ? statusStyles[value] : undefined;
}

/** `Label:  value` lines, aligned; an empty label goes on with the value above. */
export function printFacts(terminal: Terminal, facts: readonly (readonly [label: string, value: string])[]): void {
  const width = Math.max(...facts.map(([label]) => label.length)) + 1;
  terminal.out(
    facts.map(([label, value]) => `${(label && `${label}:`).padEnd(width)} ${singleLine(value)}\n`).join(""),
  );
}

/**
 * A text in which nothing paints the terminal, retitles it or turns the direction of writing: such characters are
 * shown as JSON escapes, which leaves JSON valid. A server is not trusted with the terminal. Line breaks stay.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (character) =>
    character === "\n" ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A value in one row: line breaks are shown escaped, too. */
export function singleLine(value: string): string {
  return printable(value).replaceAll("\n", "\\n");
}

function widthOf(text: string): number {
  return Array.from(text).length;
}

/** Local time as `2026-11-23 20:15`, or with seconds; `-` when there is none. */
export function formatTime(
  rfc3339: string | null | undefined,
  options: { readonly hasSeconds?: boolean } = {},
): string {
  if (!rfc3339) return "-";
  const time = new Date(rfc3339);
  if (Number.isNaN(time.getTime())) return rfc3339;
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const seconds = options.hasSeconds ? `:${two(time.getSeconds())}` : "";
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}${seconds}`;
}

export interface ReportOptions {
  readonly write: (text: string) => void;
  /** Shows causes and stacks. */
  readonly isDebug: boolean;
  readonly hasErrorColor?: boolean;
}

/** Prints an error once, for a person, and says which exit code it means. A bug shows its stack only on request. */
export function reportError(error: unknown, { write, isDebug, ...terminal }: ReportOptions): number {
  const title = paintError(terminal, "red", "error:");
  if (error instanceof AppError) {
    write(`${title} ${printable(error.message)}\n`);
    const hint = error.hint ?? nextStep(error.code);
    if (hint) write(`try:   ${printable(hint)}\n`);
    if (isDebug && error.cause !== undefined) write(`cause: ${printable(stackOf(error.cause))}\n`);
    return error.exitCode;
  }
  write(`${title} This is a bug in agent-vault, please report it: ${singleLine(messageOf(error))}\n`);
  write(isDebug ? `${stackOf(error)}\n` : "try:   the same with AGENT_VAULT_DEBUG=1, and send what it prints\n");
  return 1;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
