/** YAML in which every value knows its line, so that a mistake can be pointed at. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { InvalidInput } from "../errors.ts";
import { suggest } from "./suggest.ts";

/** @throws {InvalidInput} `bad_yaml` for malformed text, repeated keys and several documents. */
export function parseLocatedYaml(text: string, source: string): Located {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  const [problem] = document.errors;
  if (problem) {
    const { line } = lineCounter.linePos(problem.pos[0]);
    throw new InvalidInput("bad_yaml", `${source}, line ${line}: not valid YAML: ${problem.message.split("\n")[0]}`);
  }
  const resolve = (node: Node): Node | undefined => (isAlias(node) ? node.resolve(document) : node);
  return new Located(document.contents ?? undefined, {
    lineOf: (node) => (node.range ? lineCounter.linePos(node.range[0]).line : 1),
    toValue: (node) => node.toJS(document),
    resolve,
    source,
  });
}

interface Text {
  readonly source: string;
  lineOf(node: Node): number;
  /** As plain data; bounded, however often a document refers to itself. */
  toValue(node: Node): unknown;
  resolve(node: Node): Node | undefined;
}

/** One value of a document. */
export class Located {
  readonly #node: Node | undefined;
  readonly #text: Text;
  /** Of the key, for a value that is nothing. */
  readonly #line: number;

  constructor(node: Node | undefined, text: Text, line = 1) {
    this.#node = node === undefined ? undefined : text.resolve(node);
    this.#text = text;
    this.#line = node === undefined ? line : text.lineOf(node);
  }

  get line(): number {
    return this.#line;
  }

  /** The error to throw about this value. */
  wrong(code: string, sentence: string, hint?: string): InvalidInput {
    return new InvalidInput(code, `${this.#text.source}, line ${this.#line}: ${sentence}`, hint ? { hint } : {});
  }

  /**
   * The fields of a mapping. @param what names it in messages: `a service`.
   * @throws {InvalidInput} `unknown_field` for one that is not among `known`.
   */
  fields(what: string, known: readonly string[]): ReadonlyMap<string, Located> {
    const fields = new Map<string, Located>();
    if (!isMap(this.#node)) throw this.wrong("not_a_mapping", `${what} should be a mapping of ${known.join(", ")}`);
    for (const { key, value } of this.#node.items) {
      const place = new Located(key as Node, this.#text);
      const name = isScalar(key) ? String(key.value) : "";
      if (!known.includes(name)) {
        const [near] = suggest(name, known);
        throw place.wrong("unknown_field", `${what} has no field "${name}"`, near ?? `one of ${known.join(", ")}`);
      }
      fields.set(name, new Located((value as Node | null) ?? undefined, this.#text, place.line));
    }
    return fields;
  }

  /** The items of a list. @throws {InvalidInput} also for nothing: an empty list is written out. */
  items(what: string): readonly Located[] {
    if (isSeq(this.#node)) return this.#node.items.map((item) => new Located(item as Node, this.#text, this.#line));
    throw this.wrong("not_a_list", `${what} should be a list`, `${what}: [] for none`);
  }

  /** @throws {InvalidInput} unless it is text, and one of `options` if there are any. */
  text(what: string, options?: readonly string[]): string {
    const value = isScalar(this.#node) ? this.#node.value : undefined;
    if (typeof value !== "string" || value === "") throw this.wrong("not_a_text", `${what} should be a text`);
    if (options && !options.includes(value)) {
      throw this.wrong("bad_value", `${what} cannot be "${value.slice(0, 60)}"`, `one of ${options.join(", ")}`);
    }
    return value;
  }

  /** As plain data. */
  value(): unknown {
    return this.#node === undefined ? undefined : this.#text.toValue(this.#node);
  }

  get isMissing(): boolean {
    return this.#node === undefined;
  }
}
