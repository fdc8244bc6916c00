import type { InjectedHeader } from "../domain/vaults/snapshot.ts";
import { nameBytes, targetBytes, valueBytes } from "./http1/bytes.ts";
import { comparableName, Field, type FieldId, fieldSet, fieldTable, NameTable } from "./http1/field-names.ts";
import type { Fields, HeaderList } from "./http1/fields.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import { consistsOf, UnwritableHead } from "./http1/serialize.ts";
import { narrowAcceptEncoding } from "./scrub/codings.ts";

/**
 * What is forwarded, dropped and replaced, in each direction (spec of the proxy, section 14). Order, case and bytes of
 * what stays are those that arrived: lines that nobody touches are copied in one piece from the head they came in.
 */

/** RFC 9110, section 7.6.1, its predecessors, and what is between agent and broker only. */
const hopByHop: readonly FieldId[] = [
  Field.connection,
  Field.keepAlive,
  Field.proxyAuthenticate,
  Field.proxyAuthorization,
  Field.proxyConnection,
  Field.te,
  Field.transferEncoding,
  Field.upgrade,
  Field.vault,
];
const neverForwarded = fieldSet(...hopByHop);
const neverAnswered = neverForwarded | fieldSet(Field.altSvc);

/** Nobody may drop these by naming them in `Connection`, or set them as a credential. */
const structural = fieldSet(Field.host, Field.contentLength, Field.transferEncoding, Field.trailer);

/** Where heads are written to. */
export interface HeadSink {
  /** @param text one character per byte. */
  text(text: string): void;
  copy(from: Buffer, start: number, end: number): void;
}

function isIn(set: number, id: number): boolean {
  return id !== 0 && (set & (1 << id)) !== 0;
}

/** In `RequestRules`: removed. Smaller numbers are places in `lines`, counted from 1. */
const removed = 0x1000;

/** What a service does to the headers of a request: those that it sets, and those that it takes out. */
export class RequestRules {
  /** `Name: value` and CRLF. Credentials in the clear: as short-lived as the headers they were made from. */
  readonly lines: readonly Buffer[];
  readonly #narrowsCodings: boolean;
  readonly #table: NameTable | undefined;
  /** An `Accept-Encoding` that was found harmless, in lower case: agents send the same one again and again. */
  #acceptable = "identity";

  /**
   * @param removedNames comparable names that are taken out of the agent's request.
   * @param options `narrowsCodings`: ask for no coding of the answer that could not be looked into.
   * @throws {UnwritableHead} when a header would change the structure of the head.
   */
  constructor(
    injected: readonly InjectedHeader[],
    removedNames: ReadonlySet<string> | undefined,
    options: { readonly narrowsCodings: boolean } = { narrowsCodings: false },
  ) {
    this.#narrowsCodings = options.narrowsCodings;
    const lines: Buffer[] = [];
    const rules: [string, number][] = [...(removedNames ?? [])].map((name) => [name, removed]);
    for (const { name, value } of injected) {
      const comparable = comparableName(name);
      if (isIn(structural, fieldTable.findName(comparable))) continue;
      lines.push(headerLine(name, value));
      rules.push([comparable, lines.length]);
    }
    this.lines = lines;
    this.#table = rules.length === 0 ? undefined : new NameTable(rules);
  }

  /** 0: none of this service's business. */
  ruleFor(fields: Fields, line: number): number {
    if (this.#table === undefined) return 0;
    return this.#table.find(fields.hashAt(line), fields.bytes, fields.nameStart(line), fields.nameEnd(line));
  }

  /** What an `Accept-Encoding` becomes; undefined when it may stay. */
  narrowed(fields: Fields, line: number): string | undefined {
    if (!this.#narrowsCodings || fields.isValue(line, this.#acceptable)) return undefined;
    const value = fields.value(line);
    const narrowed = narrowAcceptEncoding(value);
    if (narrowed !== value) return narrowed;
    this.#acceptable = value.toLowerCase();
    return undefined;
  }

  concerns(name: string): boolean {
    return this.#table !== undefined && this.#table.findName(name) !== 0;
  }
}

/** Where no service matches and the vault lets such requests pass. */
export const noRules = new RequestRules([], undefined);

function headerLine(name: string, value: string): Buffer {
  if (name === "" || !consistsOf(name, nameBytes)) throw new UnwritableHead("A header name is not a token");
  if (!consistsOf(value, valueBytes)) {
    throw new UnwritableHead(`The value of header ${name} holds a byte that headers must not`);
  }
  return Buffer.from(`${name}: ${value}\r\n`, "latin1");
}

export interface RequestOptions {
  /** Origin form. */
  readonly target: string;
  /** The value of `Host`. */
  readonly host: string;
  readonly rules: RequestRules;
  readonly isChunked: boolean;
  /** Does anything follow the head? */
  readonly hasBody: boolean;
  /** Keep the upgrade to WebSocket. */
  readonly upgrades: boolean;
}

/**
 * Writes the head of a request as it goes upstream.
 *
 * @throws {UnwritableHead} when the target was changed into something that is none.
 */
export function writeRequestHead(out: HeadSink, head: RequestHead, options: RequestOptions): void {
  const { fields } = head;
  const { bytes } = fields;
  const { rules, isChunked } = options;
  const nominated = nominatedNames(fields);
  let copied = head.lineStart; // everything before is written, or dropped
  if (head.minor === 0 || head.target !== options.target) {
    out.text(requestLine(head.method, options.target));
    copied = head.fieldsStart;
  }
  if (!fields.has(Field.host)) {
    out.copy(bytes, copied, head.fieldsStart);
    copied = head.fieldsStart;
    out.text(`Host: ${options.host}\r\n`);
  }
  let hasHost = false;
  let takesTrailers = false;
  let declaresChunks = false;
  let placed = 0; // one bit per injected header, of which there are at most 20
  for (let line = 0; line < fields.count; line += 1) {
    const rule = rules.ruleFor(fields, line);
    const id = fields.idAt(line);
    if (rule === 0 && id === 0 && nominated === undefined && fields.isPlainAt(line)) continue;

    let keeps = rule === 0;
    let isHost = false;
    let narrowed: string | undefined;
    if (rule === 0 && id !== 0) {
      // Spelled differently, it would be a second, hidden declaration.
      if (isIn(structural, id) && !fields.isUsualAt(line)) keeps = false;
      else if (id === Field.transferEncoding) {
        keeps = isChunked && !declaresChunks;
        declaresChunks ||= keeps;
      } else if (isIn(neverForwarded, id)) {
        keeps = false;
        if (id === Field.te) takesTrailers ||= fields.hasToken(Field.te, "trailers");
      } else if (id === Field.host) {
        isHost = !hasHost;
        hasHost = true;
        keeps = isHost && fields.isExactly(line, options.host);
      } else if (id === Field.trailer) keeps = isChunked;
      else if (id === Field.acceptEncoding) narrowed = rules.narrowed(fields, line);
    }
    if (keeps && nominated !== undefined && !isIn(structural, id) && nominated.has(comparableName(fields.name(line))))
      keeps = false;
    if (keeps && narrowed === undefined && fields.isPlainAt(line)) continue;

    out.copy(bytes, copied, fields.nameStart(line));
    copied = fields.lineEnd(line);
    if (narrowed !== undefined && keeps) {
      out.copy(bytes, fields.nameStart(line), fields.nameEnd(line));
      out.text(`: ${narrowed}\r\n`);
    } else if (keeps) writeLine(out, fields, line);
    else if (isHost) {
      out.copy(bytes, fields.nameStart(line), fields.nameEnd(line));
      out.text(`: ${options.host}\r\n`);
    } else if (rule !== 0 && rule !== removed && (placed & (1 << rule)) === 0) {
      placed |= 1 << rule;
      const set = rules.lines[rule - 1];
      if (set !== undefined) out.copy(set, 0, set.length);
    }
  }
  out.copy(bytes, copied, fields.end);
  for (let i = 0; i < rules.lines.length; i += 1) {
    const set = rules.lines[i];
    if (set !== undefined && (placed & (1 << (i + 1))) === 0) out.copy(set, 0, set.length);
  }
  if (isChunked && !declaresChunks) out.text("Transfer-Encoding: chunked\r\n");
  // Trailers are relayed, so an agent that takes them may say so; codings of this hop are ours (RFC 9110, 10.1.4).
  if (takesTrailers) out.text("TE: trailers\r\n");
  if (options.upgrades) out.text("Upgrade: websocket\r\n");
  if (takesTrailers || options.upgrades) {
    out.text(`Connection: ${options.upgrades ? (takesTrailers ? "Upgrade, TE" : "Upgrade") : "TE"}\r\n`);
  }
  out.text("\r\n");
}

function requestLine(method: string, target: string): string {
  if (target === "" || !consistsOf(target, targetBytes)) {
    throw new UnwritableHead("The target must be visible ASCII without a fragment");
  }
  return `${method} ${target} HTTP/1.1\r\n`;
}

function writeLine(out: HeadSink, fields: Fields, line: number): void {
  out.copy(fields.bytes, fields.nameStart(line), fields.nameEnd(line));
  out.text(": ");
  out.copy(fields.bytes, fields.valueStart(line), fields.valueEnd(line));
  out.text("\r\n");
}

/** What the sender's `Connection` names as meant for the next hop only; undefined for the usual cases. */
function nominatedNames(fields: Fields): ReadonlySet<string> | undefined {
  if (!fields.has(Field.connection)) return undefined;
  let names: Set<string> | undefined;
  for (let line = 0; line < fields.count; line += 1) {
    if (fields.idAt(line) !== Field.connection || !fields.isUsualAt(line)) continue;
    if (fields.isValue(line, "keep-alive") || fields.isValue(line, "close")) continue;
    names ??= new Set();
    for (const element of fields.value(line).split(",")) {
      if (element.trim() !== "") names.add(comparableName(element.trim()));
    }
  }
  return names;
}

export interface AnswerOptions {
  readonly stripsCookies: boolean;
  /** How the body goes to the agent. */
  readonly isChunked: boolean;
  /** 1xx and 204: a length means nothing there, and some clients wait for it. */
  readonly dropsLength: boolean;
  readonly connection: "close" | "keep-alive" | "Upgrade" | undefined;
}

/** Writes the head of an answer as it goes to the agent, 1xx included. */
export function writeAnswerHead(out: HeadSink, head: ResponseHead, options: AnswerOptions): void {
  const { fields } = head;
  const { bytes } = fields;
  const nominated = nominatedNames(fields);
  let copied = head.statusStart - 9;
  if (head.minor === 0 || bytes[head.statusStart + 3] !== 0x20) {
    out.text(`HTTP/1.1 ${head.status} ${head.reason}\r\n`);
    copied = head.fieldsStart;
  }
  let declaresChunks = false;
  for (let line = 0; line < fields.count; line += 1) {
    const id = fields.idAt(line);
    const isPlain = fields.isPlainAt(line);
    // Nobody but the broker speaks for the broker.
    const isOurs = id === 0 && fields.nameStartsWith(line, "x-agent-vault-");
    if (id === 0 && isPlain && nominated === undefined && !isOurs) continue;

    let keeps = !isOurs;
    if (id === Field.transferEncoding) {
      keeps = options.isChunked && !declaresChunks && fields.isUsualAt(line);
      declaresChunks ||= keeps;
    } else if (isIn(neverAnswered, id)) keeps = false;
    else if (id === Field.contentLength) keeps = !options.dropsLength && fields.isUsualAt(line);
    else if (id === Field.setCookie || id === Field.setCookie2) keeps = !options.stripsCookies;
    else if (id === Field.trailer) keeps = options.isChunked && fields.isUsualAt(line);
    if (keeps && nominated !== undefined && !isIn(structural, id) && nominated.has(comparableName(fields.name(line))))
      keeps = false;
    if (keeps && isPlain) continue;

    out.copy(bytes, copied, fields.nameStart(line));
    copied = fields.lineEnd(line);
    if (keeps) writeLine(out, fields, line);
  }
  out.copy(bytes, copied, fields.end);
  if (options.isChunked && !declaresChunks) out.text("Transfer-Encoding: chunked\r\n");
  if (options.connection !== undefined) out.text(`Connection: ${options.connection}\r\n`);
  if (options.connection === "Upgrade") out.text("Upgrade: websocket\r\n");
  out.text("\r\n");
}

/** Trailers of a request, without anything that a header could not have been. */
export function outgoingTrailers(trailers: HeaderList, rules: RequestRules): string[] {
  return keep(trailers, (name, id) => !isIn(neverForwarded | structural, id) && !rules.concerns(name));
}

export function answerTrailers(trailers: HeaderList): string[] {
  const never = neverAnswered | fieldSet(Field.contentLength, Field.setCookie, Field.setCookie2, Field.trailer);
  return keep(trailers, (name, id) => !isIn(never, id) && !comparableName(name).startsWith("x-agent-vault-"));
}

function keep(headers: HeaderList, holds: (name: string, id: number) => boolean): string[] {
  return headers.flatMap((name, at) =>
    at % 2 === 0 && holds(name, fieldTable.findName(name)) ? [name, headers[at + 1] ?? ""] : [],
  );
}

/** How the agent tried to authenticate by itself, for the journal: never the value. */
export interface SniffedAuthentication {
  readonly scheme: "bearer" | "basic" | "api-key" | "";
  readonly header: "Authorization" | "X-Api-Key" | "Api-Key" | "";
}

export function sniffAuthentication(fields: Fields): SniffedAuthentication {
  const line = fields.lineOf(Field.authorization);
  if (line !== -1)
    return fields.startsWith(line, "bearer ") ? bearer : fields.startsWith(line, "basic ") ? basic : other;
  if (fields.has(Field.xApiKey)) return xApiKey;
  return fields.has(Field.apiKey) ? apiKey : nothing;
}

const bearer: SniffedAuthentication = { scheme: "bearer", header: "Authorization" };
const basic: SniffedAuthentication = { scheme: "basic", header: "Authorization" };
const other: SniffedAuthentication = { scheme: "api-key", header: "Authorization" };
const xApiKey: SniffedAuthentication = { scheme: "api-key", header: "X-Api-Key" };
const apiKey: SniffedAuthentication = { scheme: "api-key", header: "Api-Key" };
const nothing: SniffedAuthentication = { scheme: "", header: "" };
