import type { CredentialKey, Service, Surface } from "../../domain/services/service.ts";
import { revealed } from "../scrub/injected.ts";
import type { ValueEncoder } from "./encode.ts";
import { StreamReplacer } from "./stream-replacer.ts";

/** A substitution of a service with the value of its credential. */
export interface BoundSubstitution {
  readonly key: CredentialKey;
  /** Unreserved characters of URLs only, four or more (`domain/services/placeholder.ts`). */
  readonly placeholder: string;
  readonly value: string;
  readonly in: readonly Surface[];
}

/** The substitutions of one service, by surface. */
export class Substitutions {
  readonly #bySurface = new Map<Surface, PlaceholderSet>();

  constructor(all: readonly BoundSubstitution[]) {
    for (const surface of ["path", "query", "header", "body", "websocket"] as const) {
      const declared = all.filter((substitution) => substitution.in.includes(surface));
      if (declared.length > 0) this.#bySurface.set(surface, new PlaceholderSet(declared));
    }
  }

  /**
   * Those of a service; undefined when it has none. Made once for each map of values, and kept no longer than that.
   *
   * @param values of all credentials that the service names, revealed for it alone.
   */
  static of(service: Service, values: ReadonlyMap<CredentialKey, string>): Substitutions | undefined {
    if (service.substitutions.length === 0) return undefined;
    const known = compiled.get(values);
    if (known !== undefined) return known;
    const bound = service.substitutions.map((declared) => ({ ...declared, value: revealed(values, declared.key) }));
    const substitutions = new Substitutions(bound);
    compiled.set(values, substitutions);
    return substitutions;
  }

  /** Undefined when nothing is declared there: the surface is never looked at, which bounds where a value can land. */
  on(surface: Surface): PlaceholderSet | undefined {
    return this.#bySurface.get(surface);
  }
}

const compiled = new WeakMap<ReadonlyMap<CredentialKey, string>, Substitutions>();

/**
 * The placeholders of one surface. All are replaced in a single pass, at each place the longest that fits, so that what
 * was put in is never looked at again.
 */
export class PlaceholderSet {
  /** As they may be written, the longest first. */
  readonly spellings: readonly string[];
  readonly #bySpelling: ReadonlyMap<string, BoundSubstitution>;
  readonly #pattern: RegExp;

  constructor(substitutions: readonly BoundSubstitution[]) {
    const bySpelling = new Map<string, BoundSubstitution>();
    for (const substitution of substitutions) {
      for (const spelling of spellingsOf(substitution.placeholder)) bySpelling.set(spelling, substitution);
    }
    this.#bySpelling = bySpelling;
    this.spellings = [...bySpelling.keys()].sort((a, b) => b.length - a.length);
    this.#pattern = new RegExp(this.spellings.map((text) => text.replaceAll(".", "\\.")).join("|"), "g");
  }

  /** Does a text hold any of them? */
  occursIn(text: string): boolean {
    return this.spellings.some((spelling) => text.includes(spelling));
  }

  /** @param text one character per byte; the same string comes back when it holds none. */
  replaceIn(text: string, encode: ValueEncoder): string {
    if (!this.occursIn(text)) return text;
    return text.replaceAll(this.#pattern, (spelling) => this.#encoded(spelling, encode));
  }

  /** For a stream. Values are encoded when they are needed, so that one that cannot be written hurts only who uses it. */
  replacer(encode: ValueEncoder): StreamReplacer {
    return new StreamReplacer(this.spellings, this.#pattern.source, (spelling) => this.#encoded(spelling, encode));
  }

  #encoded(spelling: string, encode: ValueEncoder): string {
    const substitution = this.#bySpelling.get(spelling);
    return substitution === undefined ? spelling : encode(substitution.value, substitution.key);
  }
}

/** Nothing in a placeholder needs escaping, but old encoders write the tilde as `%7E` (RFC 3986, section 2.3). */
function spellingsOf(placeholder: string): string[] {
  return [...new Set([placeholder, placeholder.replaceAll("~", "%7E"), placeholder.replaceAll("~", "%7e")])];
}
