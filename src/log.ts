import { createConsola } from "consola";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";
export type LogFormat = "text" | "json";
/** Facts of an event. Never a credential, token, header value, body or query string. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** Is this level written? Ask before building expensive fields. */
  enabled(level: Exclude<LogLevel, "silent">): boolean;
}

const levels: Record<LogLevel, number> = { silent: -999, error: 0, warn: 1, info: 3, debug: 4 };

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly stream?: NodeJS.WritableStream;
}

/**
 * The process log: one line per event, on standard error.
 * `text` is for people; `json` is one object per line with `time` (RFC 3339), `level`, `event` and the fields.
 */
export function createLogger(options: LogOptions): Logger {
  const stream = options.stream ?? process.stderr;
  const threshold = levels[options.level];
  const consola = createConsola({
    level: threshold,
    fancy: false,
    reporters: [
      {
        log(entry) {
          const [event, fields] = entry.args as [string, LogFields | undefined];
          stream.write(`${render(options.format, entry.date, entry.type, event, fields)}\n`);
        },
      },
    ],
  });
  // Consola drops repeated lines within a second; a log of events must not.
  consola.options.throttle = 0;
  return {
    debug: (event, fields) => consola.debug(event, fields),
    info: (event, fields) => consola.info(event, fields),
    warn: (event, fields) => consola.warn(event, fields),
    error: (event, fields) => consola.error(event, fields),
    enabled: (level) => threshold >= levels[level],
  };
}

/** A logger that writes nothing, for code that runs without a server. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  enabled: () => false,
};

function render(format: LogFormat, at: Date, level: string, event: string, fields: LogFields = {}): string {
  if (format === "json") {
    return JSON.stringify({ time: at.toISOString(), level, event, ...mapValues(fields, jsonable) });
  }
  const pairs = Object.entries(fields).filter(([, value]) => value !== undefined);
  const facts = pairs.map(([key, value]) => `${key}=${textual(value)}`).join(" ");
  const time = at.toISOString().slice(11, 23);
  return `${time} ${level.padEnd(5)} ${event}${facts ? ` ${facts}` : ""}`;
}

function mapValues(fields: LogFields, change: (value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, change(value)]));
}

function jsonable(value: unknown): unknown {
  return value instanceof Error ? describe(value) : value;
}

function textual(value: unknown): string {
  const plain = value instanceof Error ? describe(value) : value;
  const text = typeof plain === "string" ? plain : JSON.stringify(plain);
  return /^[\w.:/@*-]+$/.test(text ?? "") ? String(text) : JSON.stringify(text);
}

/** An error and its causes in one line; stack traces only where nobody foresaw the error. */
function describe(error: Error): string {
  const chain: string[] = [];
  for (let at: unknown = error; at instanceof Error && chain.length < 5; at = at.cause) chain.push(at.message);
  return chain.join(": ");
}
