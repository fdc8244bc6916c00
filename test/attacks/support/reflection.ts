import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { hosts, type Stage, secret } from "./stage.ts";

/** The ways in which an upstream writes what it was sent; none of them may bring the credential to the agent. */
export const spellings: Readonly<Record<string, (text: string) => string>> = {
  "as it is": (text) => text,
  base64: (text) => Buffer.from(text).toString("base64"),
  "base64, behind one byte": (text) => Buffer.from(`:${text}`).toString("base64"),
  "base64, behind two bytes": (text) => Buffer.from(`::${text}`).toString("base64"),
  base64url: (text) => Buffer.from(text).toString("base64url"),
  hexadecimal: (text) => Buffer.from(text).toString("hex"),
  "hexadecimal in capitals": (text) => Buffer.from(text).toString("hex").toUpperCase(),
  "percent-encoded, wholly": (text) => [...text].map((c) => `%${c.charCodeAt(0).toString(16)}`).join(""),
  "percent-encoded twice": (text) => [...text].map((c) => `%25${c.charCodeAt(0).toString(16)}`).join(""),
  "escaped for JSON": (text) => [...text].map((c) => `\\u00${c.charCodeAt(0).toString(16)}`).join(""),
  "escaped for HTML": (text) => [...text].map((c) => `&#${c.charCodeAt(0)};`).join(""),
  "escaped in one place": (text) => text.replace("_", "%5F"),
};

/** Any of these in the agent's hands is the credential in the agent's hands. */
export function holdsSecret(text: string): boolean {
  const bytes = [
    text,
    text.replaceAll(/\\u00([0-9a-f]{2})/gi, "%$1").replaceAll(/&#(\d+);/g, (_, n) => `%${Number(n).toString(16)}`),
  ];
  const undone = bytes.flatMap((one) => [one, unescaped(one), unescaped(unescaped(one))]);
  const runs = undone.flatMap((one) => one.match(/[A-Za-z0-9+/_-]{16,}/g) ?? []);
  const decoded = runs.flatMap((run) =>
    [0, 1, 2, 3].map((skip) => Buffer.from(run.slice(skip), "base64").toString("latin1")),
  );
  const hex = runs.map((run) => Buffer.from(run, "hex").toString("latin1"));
  return [...undone, ...decoded, ...hex].some((one) => one.includes(secret));
}

const unescaped = (text: string): string =>
  text.replaceAll(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));

export type Container = (text: string) => string;
export const fixed = (headers: string, body: string, status = "200 OK"): string =>
  `HTTP/1.1 ${status}\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
const packed =
  (coding: string, pack: (text: string) => Buffer): Container =>
  (text) =>
    fixed(`Content-Encoding: ${coding}\r\n`, pack(text).toString("latin1"));
const chunked = (parts: readonly string[], headers = "", end = ""): string =>
  `HTTP/1.1 200 OK\r\n${headers}Transfer-Encoding: chunked\r\n\r\n${parts
    .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
    .join("")}0\r\n${end}\r\n`;

export const containers: Readonly<Record<string, Container>> = {
  "a body": (text) => fixed("Content-Type: application/json\r\n", `{"token":"${text}"}`),
  "an error body": (text) => fixed("", `invalid token ${text}`, "401 Unauthorized"),
  "a header": (text) => fixed(`X-Echo: Bearer ${text}\r\n`, "ok"),
  "a redirect": (text) => fixed(`Location: https://${hosts.api}/?key=${text}\r\n`, "", "302 Found"),
  "a reason": (text) => fixed("", "ok", `200 ${text.replaceAll("\\", "%5c")}`),
  "a challenge": (text) => fixed(`WWW-Authenticate: Bearer realm="${text}"\r\n`, "", "401 Unauthorized"),
  "an interim answer": (text) => `HTTP/1.1 103 Early\r\nLink: <${text}>\r\n\r\n${fixed("", "ok")}`,
  gzip: packed("gzip", gzipSync),
  deflate: packed("deflate", deflateSync),
  br: packed("br", brotliCompressSync),
  "gzip in br": packed("gzip, br", (text) => brotliCompressSync(gzipSync(text))),
  "chunks of one byte": (text) => chunked([...`{"token":"${text}"}`]),
  "a feed of events": (text) => chunked([`data: 1\n\n`, `data: ${text}\n\n`], "Content-Type: text/event-stream\r\n"),
  "a trailer": (text) => chunked(["ok"], "Trailer: X-Sum\r\n", `X-Sum: ${text}\r\n`),
  "a body without an end": (text) => `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${text}`,
};

/** Everything that the agent hears when the upstream answers with `text`, on connections that nobody used before. */
export async function hearAnswer(stage: Stage, text: string): Promise<string> {
  stage.secure.script = (connection) => {
    connection.send(text);
    if (/^Connection: close/m.test(text)) connection.end();
  };
  using wire = await stage.tunnel();
  wire.send(`GET /me HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\nConnection: close\r\n\r\n`);
  const all = await wire.untilClosed();
  await stage.secure.closeAll();
  return all;
}
