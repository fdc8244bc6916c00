import type { InjectedHeader } from "../domain/vaults/snapshot.ts";
import type { HeaderList } from "./http1/head.ts";
import { hasToken, isNamed, listValues } from "./http1/headers.ts";

/** What is forwarded, dropped and replaced, in each direction (spec of the proxy, section 14). Order and case stay. */

/**
 * How a name is compared: in lower case, and everything but letters and digits as `-`. CGI and its descendants make
 * `_` of some of those or of all, so `X_Api_Key` and `X.Api.Key` beside an injected `X-Api-Key` would be a second
 * opinion on who is calling.
 */
export function comparableName(name: string): string {
  const known = comparable.get(name);
  if (known !== undefined) return known;
  const key = name.toLowerCase().replaceAll(/[^a-z0-9]/g, "-");
  // Agents could send names without end; the usual ones are all that is worth remembering.
  if (comparable.size < 1024 && name.length <= 64) comparable.set(name, key);
  return key;
}

const comparable = new Map<string, string>();

/** RFC 9110, section 7.6.1, its predecessors, and what is between agent and broker only. */
const neverForwarded: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
  "x-vault",
]);

/** Nobody may drop these by naming them in `Connection`, or set them as a credential. */
const structural: ReadonlySet<string> = new Set(["host", "content-length", "transfer-encoding", "trailer"]);

export interface OutgoingOptions {
  readonly host: string;
  readonly injected: readonly InjectedHeader[];
  /** Comparable names that the service removes from the agent's request. */
  readonly stripped: ReadonlySet<string> | undefined;
  readonly isChunked: boolean;
  /** Keep the upgrade to WebSocket. */
  readonly upgrades: boolean;
}

/** The headers of a request as they go upstream. */
export function outgoingHeaders(headers: HeaderList, options: OutgoingOptions): string[] {
  const { injected, stripped } = options;
  const nominated = nominatedNames(headers);
  const outgoing: string[] = [];
  let hasHost = false;
  let takesTrailers = false;
  let placed = 0; // one bit per injected header, of which there are at most 20
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? "";
    const key = comparableName(name);
    const slot = injected.length === 0 ? -1 : slotOf(injected, key);
    if (slot !== -1) {
      const set = injected[slot];
      if (set && (placed & (1 << slot)) === 0) outgoing.push(set.name, set.value);
      placed |= 1 << slot;
      continue;
    }
    if (stripped?.has(key)) continue;
    if (neverForwarded.has(key)) {
      if (key === "te") takesTrailers ||= hasToken(headers, "te", "trailers");
      continue;
    }
    if (structural.has(key)) {
      // Spelled differently, it would be a second, hidden declaration.
      if (!isNamed(name, key)) continue;
      if (key === "host") {
        if (!hasHost) outgoing.push(name, options.host);
        hasHost = true;
        continue;
      }
      if (key === "trailer" && !options.isChunked) continue;
    } else if (nominated?.has(key)) continue;
    outgoing.push(name, headers[i + 1] ?? "");
  }
  if (!hasHost) outgoing.unshift("Host", options.host);
  for (let slot = 0; slot < injected.length; slot += 1) {
    const set = injected[slot];
    if (set && (placed & (1 << slot)) === 0 && !structural.has(comparableName(set.name)))
      outgoing.push(set.name, set.value);
  }
  if (options.isChunked) outgoing.push("Transfer-Encoding", "chunked");
  // Trailers are relayed, so an agent that takes them may say so; codings of this hop are ours (RFC 9110, 10.1.4).
  if (takesTrailers) outgoing.push("TE", "trailers");
  if (options.upgrades) outgoing.push("Upgrade", "websocket");
  if (takesTrailers || options.upgrades) {
    outgoing.push("Connection", options.upgrades ? (takesTrailers ? "Upgrade, TE" : "Upgrade") : "TE");
  }
  return outgoing;
}

function slotOf(injected: readonly InjectedHeader[], key: string): number {
  for (let slot = 0; slot < injected.length; slot += 1) {
    const set = injected[slot];
    if (set && comparableName(set.name) === key && !structural.has(key)) return slot;
  }
  return -1;
}

/** What the sender's `Connection` names as meant for the next hop only; undefined for the usual cases. */
function nominatedNames(headers: HeaderList): ReadonlySet<string> | undefined {
  let names: Set<string> | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    if ((headers[i] ?? "").length !== 10 || comparableName(headers[i] ?? "") !== "connection") continue;
    const value = headers[i + 1] ?? "";
    if (value === "keep-alive" || value === "close" || value === "Keep-Alive") continue;
    names ??= new Set(listValues(headers, "connection").map(comparableName));
  }
  return names;
}

export interface AnswerOptions {
  readonly stripsCookies: boolean;
  /** How the body goes to the agent; undefined leaves what the upstream declared. */
  readonly isChunked: boolean;
  /** 1xx and 204: a length means nothing there, and some clients wait for it. */
  readonly dropsLength: boolean;
  readonly connection: "close" | "keep-alive" | undefined;
}

const neverAnswered: ReadonlySet<string> = new Set([
  ...neverForwarded,
  "alt-svc",
  "content-length",
  "set-cookie",
  "set-cookie2",
  "trailer",
]);

/** The headers of an answer as they go to the agent. */
export function answerHeaders(headers: HeaderList, options: AnswerOptions): string[] {
  const nominated = nominatedNames(headers);
  const answer: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? "";
    const key = comparableName(name);
    if (key.startsWith("x-agent-vault-")) continue;
    if (neverAnswered.has(key) && !survives(key, options)) continue;
    if (nominated?.has(key) && !structural.has(key)) continue;
    answer.push(name, headers[i + 1] ?? "");
  }
  if (options.isChunked) answer.push("Transfer-Encoding", "chunked");
  if (options.connection !== undefined) answer.push("Connection", options.connection);
  return answer;
}

function survives(key: string, options: AnswerOptions): boolean {
  if (key === "content-length") return !options.dropsLength;
  if (key === "set-cookie" || key === "set-cookie2") return !options.stripsCookies;
  return key === "trailer" && options.isChunked;
}

/** Trailers of a request, without anything that a header could not have been. */
export function outgoingTrailers(
  trailers: HeaderList,
  { injected, stripped }: Pick<OutgoingOptions, "injected" | "stripped">,
): string[] {
  return keep(trailers, (key) => {
    return !neverForwarded.has(key) && !structural.has(key) && !stripped?.has(key) && slotOf(injected, key) === -1;
  });
}

export function answerTrailers(trailers: HeaderList): string[] {
  return keep(trailers, (key) => !neverAnswered.has(key) && !key.startsWith("x-agent-vault-"));
}

function keep(headers: HeaderList, holds: (key: string) => boolean): string[] {
  return headers.flatMap((name, at) =>
    at % 2 === 0 && holds(comparableName(name)) ? [name, headers[at + 1] ?? ""] : [],
  );
}

/** How the agent tried to authenticate by itself, for the journal: never the value. */
export function sniffAuthentication(headers: HeaderList): { readonly scheme: string; readonly header: string } {
  let apiKey = "";
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? "";
    const key = comparableName(name);
    if (key === "authorization") {
      const value = headers[i + 1] ?? "";
      if (/^bearer /i.test(value)) return bearer;
      return /^basic /i.test(value) ? basic : { scheme: "api-key", header: "Authorization" };
    }
    if (key === "x-api-key" || (key === "api-key" && apiKey === ""))
      apiKey = key === "x-api-key" ? "X-Api-Key" : "Api-Key";
  }
  return apiKey === "" ? nothing : { scheme: "api-key", header: apiKey };
}

const bearer = { scheme: "bearer", header: "Authorization" };
const basic = { scheme: "basic", header: "Authorization" };
const nothing = { scheme: "", header: "" };
