/** Values for a fuzz: such as a schema allows, and such as nothing should. */
import type { OpenApiDocument } from "../../../src/http/openapi/document-form.ts";
import type { Schema } from "../../../src/http/openapi/schema.ts";

/** Numbers that come out the same for the same seed (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, but without, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  oneOf<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("Nothing to choose from");
    return item;
  }

  isIn(share: number): boolean {
    return this.next() < share;
  }
}

/** Put into every field that the document marks as a password; looked for in all answers. */
export const sentSecret = "sent-secret-7c1f0b52e9";

/** What a field of this name should hold to mean something in the world of the test. */
export type Known = Readonly<Record<string, string | number | boolean>>;

export class Values {
  readonly #document: OpenApiDocument;
  readonly #chance: Chance;

  constructor(document: OpenApiDocument, chance: Chance) {
    this.#document = document;
    this.#chance = chance;
  }

  /** Allowed by the schema; optional members are there half of the time. */
  good(schema: Schema, known: Known, name = ""): unknown {
    if (typeof schema.$ref === "string") return this.good(this.#resolve(schema.$ref), known, name);
    if (Object.hasOwn(known, name)) return known[name];
    if ("const" in schema) return schema.const;
    if (Array.isArray(schema.enum)) return this.#chance.oneOf(schema.enum);
    const alternatives = (schema.oneOf ?? schema.anyOf) as readonly Schema[] | undefined;
    if (alternatives !== undefined) return this.good(this.#chance.oneOf(alternatives), known, name);
    const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
    switch (type) {
      case "object":
        return this.#object(schema, known);
      case "array":
        return Array.from({ length: this.#chance.below(3) }, () => this.good(schema.items as Schema, known, name));
      case "integer":
      case "number":
        return Number(schema.minimum ?? 1) + this.#chance.below(3);
      case "boolean":
        return this.#chance.isIn(0.5);
      case "null":
        return null;
      default:
        return this.#text(schema);
    }
  }

  /** A copy of which one place holds something that does not belong there. */
  spoilt(value: unknown): unknown {
    if (Array.isArray(value) && value.length > 0 && this.#chance.isIn(0.8)) {
      const at = this.#chance.below(value.length);
      return value.map((item, index) => (index === at ? this.spoilt(item) : item));
    }
    if (typeof value === "object" && value !== null && Object.keys(value).length > 0 && this.#chance.isIn(0.9)) {
      const at = this.#chance.oneOf(Object.keys(value));
      const entries = Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
        if (name !== at) return [[name, member]];
        return this.#chance.isIn(0.15) ? [] : [[name, this.spoilt(member)]];
      });
      return Object.fromEntries(entries);
    }
    return this.hostile();
  }

  hostile(): unknown {
    return this.#chance.oneOf(hostileValues)();
  }

  hostileText(): string {
    return this.#chance.oneOf(hostileTexts);
  }

  #object(schema: Schema, known: Known): object {
    const required = (schema.required ?? []) as readonly string[];
    const members = Object.entries((schema.properties ?? {}) as Readonly<Record<string, Schema>>)
      .filter(([name]) => required.includes(name) || this.#chance.isIn(0.5))
      .map(([name, member]) => [name, this.good(member, known, name)]);
    const more = schema.additionalProperties;
    if (typeof more !== "object" || more === null) return Object.fromEntries(members);
    return { SEEDED_KEY: this.good(more as Schema, {}) };
  }

  #text(schema: Schema): string {
    if (Array.isArray(schema.examples)) return String(this.#chance.oneOf(schema.examples));
    switch (schema.format) {
      case "password":
        return sentSecret;
      case "email":
        return `person-${this.#chance.below(1e9)}@example.com`;
      // Nothing that would be called: addresses of this machine are refused before anybody is asked.
      case "uri":
        return this.#chance.oneOf(["http://127.0.0.1:9/token", "https://10.0.0.1/x", "https://[::1]/y"]);
      case "date-time":
        return "2026-01-31T12:00:00Z";
      case "uuid":
        return "00000000-0000-4000-8000-000000000000";
    }
    const pattern = String(schema.pattern ?? "");
    if (pattern.startsWith("^[A-Z]")) return "SEEDED_KEY";
    if (pattern.startsWith("^[a-z0-9]")) return `slug-${this.#chance.below(1e9)}`;
    if (pattern.startsWith("^[0-9]{6}")) return "123456";
    if (pattern.startsWith("^[A-Za-z0-9_.~-]")) return `__place_${this.#chance.below(1e6)}__`;
    return this.#chance.oneOf(["GET", "text", "x-other", "1", ""]);
  }

  #resolve(reference: string): Schema {
    const name = reference.split("/").at(-1) ?? "";
    const schema = this.#document.components.schemas[name];
    if (schema === undefined) throw new Error(`The document has no ${reference}`);
    return schema;
  }
}

const long = "A".repeat(70_000);

const hostileTexts: readonly string[] = [
  "",
  " ",
  "\u0000",
  "a\u0000b",
  "\ud800",
  "x\udfffy",
  "\u202e\u2066right to left",
  "../../../../etc/passwd",
  "..\\..\\windows\\win.ini",
  "file:///etc/passwd",
  "'; DROP TABLE users; --",
  "%' OR 1=1 --",
  "{{ SEEDED_KEY }}",
  "$(id)",
  "<script>alert(1)</script>",
  "\r\nSet-Cookie: av_session=x",
  "__proto__",
  "constructor",
  "toString",
  "null",
  "-1",
  "0",
  "99999999999999999999999",
  "1e309",
  "NaN",
  "\ufeff",
  "🦊".repeat(300),
  "é".normalize("NFD"),
  long,
  "http://[::ffff:169.254.169.254]/",
  "*.*",
  "a".repeat(64),
  "a".repeat(65),
];

const hostileValues: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => 0,
  () => -1,
  () => -0,
  () => 1.5,
  () => 2 ** 31,
  () => 2 ** 53,
  () => -(2 ** 63),
  () => 1e308,
  () => [],
  () => [null],
  () => [[[]]],
  () => ({}),
  () => ({ toString: "x", length: -1 }),
  () => JSON.parse('{"__proto__":{"role":"owner"},"constructor":{"prototype":{}}}') as unknown,
  () => Array.from({ length: 2_000 }, (_, index) => index),
  ...hostileTexts.map((text) => () => text),
];

/** Bodies that are no JSON, too much JSON, or JSON with a trap. */
export const hostileBodies: readonly { readonly name: string; readonly bytes: () => Uint8Array }[] = [
  { name: "nothing", bytes: () => Buffer.alloc(0) },
  { name: "a blank", bytes: () => Buffer.from(" ") },
  { name: "half an object", bytes: () => Buffer.from('{"name":') },
  { name: "half a string", bytes: () => Buffer.from('{"name":"x') },
  { name: "a byte order mark", bytes: () => Buffer.from("\ufeff{}") },
  {
    name: "bytes that are not UTF-8",
    bytes: () => Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0xc0, 0x80, 0x22, 0x3a, 0x31, 0x7d]),
  },
  { name: "UTF-16", bytes: () => Buffer.from('{"name":"x"}', "utf16le") },
  { name: "a raw control character", bytes: () => Buffer.from('{"name":"a\u0001b"}') },
  { name: "half a pair", bytes: () => Buffer.from('{"name":"\\ud800","vault":"\\udc00","email":"\\ud83d@x.com"}') },
  { name: "an escaped NUL", bytes: () => Buffer.from('{"name":"a\\u0000b","vault":"\\u0000","key":"\\u0000"}') },
  { name: "NaN", bytes: () => Buffer.from('{"ttl_seconds":NaN,"version":Infinity}') },
  {
    name: "numbers beyond all bounds",
    bytes: () => Buffer.from('{"ttl_seconds":1e999,"version":-1e999,"max":99999999999999999999}'),
  },
  { name: "a list", bytes: () => Buffer.from("[1,2,3]") },
  { name: "a text", bytes: () => Buffer.from('"name"') },
  { name: "a number", bytes: () => Buffer.from("1") },
  { name: "null", bytes: () => Buffer.from("null") },
  {
    name: "names twice",
    bytes: () => Buffer.from('{"name":"first","name":2,"NAME":[],"vault":"default","vault":null,"Vault":{}}'),
  },
  {
    name: "names of objects",
    bytes: () => Buffer.from('{"__proto__":{"role":"owner","name":"x"},"constructor":{"name":"x"},"hasOwnProperty":1}'),
  },
  { name: "lists in lists", bytes: () => Buffer.from(`${"[".repeat(9_000)}${"]".repeat(9_000)}`) },
  { name: "lists in lists without end", bytes: () => Buffer.from("[".repeat(200_000)) },
  { name: "objects in objects", bytes: () => Buffer.from(`${'{"services":'.repeat(5_000)}1${"}".repeat(5_000)}`) },
  {
    name: "deep fields",
    bytes: () =>
      Buffer.from(
        `{"services":[${'{"auth":'.repeat(3_000)}1${"}".repeat(3_000)}],"credentials":${'{"A":'.repeat(3_000)}1${"}".repeat(3_000)}}`,
      ),
  },
  {
    name: "many names",
    bytes: () => Buffer.from(`{${Array.from({ length: 20_000 }, (_, index) => `"k${index}":${index}`).join(",")}}`),
  },
  { name: "a long text", bytes: () => Buffer.from(JSON.stringify({ name: "n".repeat(900_000) })) },
  { name: "more than 1 MiB", bytes: () => Buffer.from(JSON.stringify({ name: "n".repeat(1_100_000) })) },
  { name: "a form", bytes: () => Buffer.from("name=x&vault=default") },
  { name: "XML", bytes: () => Buffer.from('<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>') },
];

/** As they stand in a target: already encoded, or wrongly so. */
export const hostileSegments: readonly string[] = [
  "%00",
  "a%00b",
  "%ff%fe",
  "%c0%ae%c0%ae%2f",
  "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
  "%2e%2e",
  "..%5c..%5c",
  "%zz",
  "%",
  "%ed%a0%80",
  "%0d%0aSet-Cookie:%20x=y",
  "%27%3B%20DROP%20TABLE%20users",
  "__proto__",
  "constructor",
  "-1",
  "0",
  "1e9",
  "99999999999999999999",
  "9223372036854775808",
  "%E2%80%AE",
  "%7B%7B%20SEEDED_KEY%20%7D%7D",
  "a".repeat(3_000),
  "%F0%9F%A6%8A".repeat(50),
  "+",
  "*",
  ";x=1",
  "me",
];
