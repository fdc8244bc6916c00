/** Ways in which programs write a text, for the tests that look for it afterwards. */
export interface Encoding {
  readonly name: string;
  readonly encode: (text: string) => string;
}

const each = (text: string, encode: (character: string) => string) => [...text].map(encode).join("");
const hex = (text: string) => Buffer.from(text).toString("hex");
const percentAll = (text: string) => hex(text).replaceAll(/../g, (byte) => `%${byte}`);
const unicode = (text: string) =>
  Array.from({ length: text.length }, (_, at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");
const named: Readonly<Record<string, string>> = {
  '"': "&quot;",
  "&": "&amp;",
  "'": "&#39;",
  "/": "&sol;",
  "<": "&lt;",
  ">": "&gt;",
  "+": "&plus;",
  "=": "&equals;",
  ".": "&period;",
  "%": "&percnt;",
};
/** What stands around base64 that begins in the middle of other bytes. */
const base64Behind = (lead: number) => (text: string) =>
  Buffer.concat([Buffer.alloc(lead, 0x58), Buffer.from(text), Buffer.from("tail")]).toString("base64");

export const encodings: readonly Encoding[] = [
  { name: "raw", encode: (text) => text },
  ...[0, 1, 2].flatMap((lead) => [
    { name: `base64, ${lead} bytes before`, encode: base64Behind(lead) },
    {
      name: `base64url, ${lead} bytes before`,
      encode: (text: string) => base64Behind(lead)(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""),
    },
  ]),
  { name: "base64 with slashes escaped", encode: (text) => base64Behind(0)(text).replaceAll("/", "\\/") },
  { name: "base64 percent-encoded", encode: (text) => encodeURIComponent(base64Behind(0)(text)) },
  { name: "hex", encode: hex },
  { name: "HEX", encode: (text) => hex(text).toUpperCase() },
  { name: "percent-encoded where needed", encode: (text) => encodeURIComponent(text) },
  { name: "percent-encoded, lower case", encode: (text) => percentAll(text) },
  { name: "percent-encoded, upper case", encode: (text) => percentAll(text).toUpperCase() },
  { name: "every second byte percent-encoded", encode: (text) => halves(text, percentAll) },
  { name: "percent-encoded twice", encode: (text) => encodeURIComponent(percentAll(text)) },
  { name: "as in a form", encode: (text) => new URLSearchParams({ "": text }).toString().slice(1) },
  { name: "JSON", encode: (text) => JSON.stringify(text).slice(1, -1) },
  { name: "JSON with slashes escaped", encode: (text) => JSON.stringify(text).slice(1, -1).replaceAll("/", "\\/") },
  { name: "JSON, all of it \\uXXXX", encode: unicode },
  { name: "JSON, every second character \\uXXXX", encode: (text) => halves(text, unicode) },
  { name: "JSON in JSON", encode: (text) => JSON.stringify(JSON.stringify(text).slice(1, -1)).slice(1, -1) },
  { name: "\\x", encode: (text) => hex(text).replaceAll(/../g, (byte) => `\\x${byte}`) },
  { name: "HTML, named", encode: (text) => each(text, (character) => named[character] ?? character) },
  { name: "HTML, decimal", encode: (text) => each(text, (character) => `&#${character.codePointAt(0)};`) },
  {
    name: "HTML, hexadecimal",
    encode: (text) => each(text, (character) => `&#x${(character.codePointAt(0) ?? 0).toString(16).toUpperCase()};`),
  },
  {
    name: "HTML, twice",
    encode: (text) => each(text, (character) => named[character] ?? character).replaceAll("&", "&amp;"),
  },
];

function halves(text: string, encode: (text: string) => string): string {
  return [...text]
    .map((character, at) => (at % 2 === 0 || /[%\\&]/.test(character) ? encode(character) : character))
    .join("");
}
