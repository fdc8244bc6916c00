import { randomBytes } from "node:crypto";
import { type RequestOptions, writeRequestHead } from "../headers.ts";
import { Field } from "../http1/field-names.ts";
import type { Fields, HeaderList } from "../http1/fields.ts";
import { type Framing, requestFraming } from "../http1/framing.ts";
import { FramingError } from "../http1/framing-error.ts";
import { RequestHead } from "../http1/head.ts";
import { checkField, isOfConnection } from "./field-rules.ts";
import { HeadScratch } from "./head-scratch.ts";
import { malformed } from "./http2-error.ts";

/**
 * Requests between their two forms. Inside of the proxy there is one kind of head, that of HTTP/1.1: what is decided about
 * a request is decided by the same code, from the same bytes, whatever it came as.
 */

export interface ReadRequest {
  readonly head: RequestHead;
  /** `none` where the stream ended with the head. */
  readonly framing: Framing;
  /** Asks for a WebSocket: bytes follow that are no body (RFC 8441). */
  readonly isTunnel: boolean;
}

interface Pseudo {
  protocol?: string;
  method?: string;
  scheme?: string;
  authority?: string;
  path?: string;
}

const names: Readonly<Record<string, keyof Pseudo>> = {
  ":method": "method",
  ":scheme": "scheme",
  ":authority": "authority",
  ":path": "path",
  ":protocol": "protocol",
};

/**
 * The request that a stream begins with (RFC 9113, section 8.3.1).
 *
 * @param fields undefined when they are larger than allowed.
 * @throws {Http2StreamError} on a malformed request.
 * @throws {FramingError} on one that cannot be read as a request of HTTP/1.1.
 */
export function readRequest(fields: HeaderList | undefined, endsStream: boolean): ReadRequest {
  if (fields === undefined) throw new FramingError("head_too_large", "The head is too large", 431);
  const { pseudo, rest } = split(fields);
  const { method = "", scheme, authority, path, protocol } = pseudo;
  const isTunnel = protocol !== undefined;
  if (isTunnel && (method !== "CONNECT" || protocol !== "websocket" || endsStream)) {
    throw malformed("A request asks for a protocol that is not there");
  }
  if (scheme !== undefined && scheme !== "https" && scheme !== "http")
    throw malformed("A request has a strange scheme");
  const isConnect = method === "CONNECT" && !isTunnel;
  if (method === "" || (isConnect ? scheme !== undefined || path !== undefined : !scheme || !path)) {
    throw malformed("A request lacks a pseudo-header, or has one too many");
  }
  // A target in absolute form, for whoever compares it with where the tunnel leads.
  const target = isConnect ? authority : scheme === "https" ? path : `${scheme}://${authority}${path}`;
  let text = `${isTunnel ? "GET" : method} ${target} HTTP/1.1\r\n`;
  if (authority !== undefined) text += `host: ${authority}\r\n`;
  if (isTunnel) text += `upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-key: ${webSocketKey()}\r\n`;
  text += `${rest}\r\n`;
  const bytes = Buffer.from(text, "latin1");
  const head = new RequestHead();
  head.parse(bytes, 0, bytes.length);
  const declared = requestFraming(head);
  if (endsStream && declared.kind === "length" && declared.length > 0) {
    throw malformed("The body is shorter than its content-length");
  }
  if (isTunnel && declared.kind !== "none") throw malformed("A WebSocket has a length");
  const isOpen = declared.kind === "none" && !endsStream && !isTunnel;
  return { head, framing: isOpen ? { kind: "chunked" } : declared, isTunnel };
}

/** HTTP/2 needs none, but the upstream speaks HTTP/1.1. */
function webSocketKey(): string {
  return randomBytes(16).toString("base64");
}

/** @throws {Http2StreamError} */
function split(fields: HeaderList): { readonly pseudo: Pseudo; readonly rest: string } {
  const pseudo: Pseudo = {};
  let rest = "";
  let cookies: string | undefined;
  let at = 0;
  for (; at < fields.length && fields[at]?.startsWith(":"); at += 2) {
    const name = names[fields[at] ?? ""];
    if (name === undefined) throw malformed("A pseudo-header is not one of a request");
    if (pseudo[name] !== undefined) throw malformed("A pseudo-header is repeated");
    // A blank would begin another part of the request line; the rest is checked there.
    const value = fields[at + 1] ?? "";
    if (/[\s]/.test(value)) throw malformed("A pseudo-header holds white space");
    pseudo[name] = value;
  }
  for (; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    if (name.startsWith(":")) throw malformed("A pseudo-header stands behind other fields");
    checkField(name, value);
    if (name === "sec-websocket-key" && pseudo.protocol !== undefined)
      throw malformed("A WebSocket brings its own key");
    if (name === "te" && value.toLowerCase() !== "trailers") throw malformed("The field te says more than trailers");
    if (name === "host" && pseudo.authority !== undefined) {
      if (value.toLowerCase() !== pseudo.authority.toLowerCase()) throw malformed("The request names two hosts");
    } else if (name === "cookie") cookies = cookies === undefined ? value : `${cookies}; ${value}`;
    else rest += `${name}: ${value}\r\n`;
  }
  // Browsers split cookies over fields so that they compress better (section 8.2.3).
  if (cookies !== undefined) rest += `cookie: ${cookies}\r\n`;
  return { pseudo, rest };
}

const scratch = new HeadScratch();
const outgoing = new RequestHead();

/**
 * A request on its way to an upstream: what `writeRequestHead` makes of it, as fields.
 *
 * @throws {UnwritableHead}
 */
export function requestFields(head: RequestHead, options: RequestOptions): string[] {
  writeRequestHead(scratch, head, options);
  const bytes = scratch.take();
  outgoing.parse(bytes, 0, bytes.length);
  const { method, target, fields } = outgoing;
  const list = [":method", method, ":scheme", "https", ":authority", options.host, ":path", target];
  pushFields(list, fields);
  fields.release();
  return list;
}

/** Adds what is not about a connection of HTTP/1.1. */
export function pushFields(list: string[], fields: Fields): void {
  for (let line = 0; line < fields.count; line += 1) {
    if (fields.idAt(line) === Field.host) continue;
    const name = fields.name(line).toLowerCase();
    if (!isOfConnection(name)) list.push(name, fields.value(line));
  }
}
