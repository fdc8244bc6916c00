/** Service templates: what a new service may start from. Nothing applies one by itself. */
import { Corrupt } from "../../errors.ts";
import { coversHost, parsePattern } from "./pattern.ts";
import type { Pattern } from "./service.ts";

/** One file of catalog/, in the wire form (catalog/schema.json). */
export interface CatalogTemplate {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly description: string;
  readonly auth_type: string;
  readonly suggested_credential_key: string;
  readonly [field: string]: unknown;
}

/** Templates by the hosts that they are for. */
export class TemplateFinder {
  readonly #patterns: readonly { readonly id: string; readonly pattern: Pattern }[];

  constructor(catalog: readonly CatalogTemplate[]) {
    this.#patterns = catalog.map(({ id, host }) => ({
      id,
      pattern: parsePattern(host, "", { allowsInternalNames: false }),
    }));
  }

  /** Ids of the templates for a host without its port, those that name it before those with a wildcard. */
  idsFor(host: string): readonly string[] {
    const fitting = this.#patterns.filter(({ pattern }) => coversHost(pattern, host));
    return [true, false].flatMap((isNamed) =>
      fitting.filter(({ pattern }) => (pattern.host === host) === isNamed).map(({ id }) => id),
    );
  }
}

const required = ["id", "name", "host", "description", "auth_type", "suggested_credential_key"] as const;

/**
 * @param files content by path; `schema.json` and what is not JSON by name is passed over.
 * @returns the templates by name.
 * @throws {Corrupt} naming the file that is not a template, or that repeats an id.
 */
export function loadCatalog(files: ReadonlyMap<string, string>): readonly CatalogTemplate[] {
  const templates = new Map<string, CatalogTemplate>();
  for (const [path, content] of files) {
    const file = path.split("/").at(-1) ?? path;
    if (!file.endsWith(".json") || file === "schema.json") continue;
    const template = parseTemplate(file, content);
    if (templates.has(template.id)) throw broken(file, `the id "${template.id}" is taken`);
    templates.set(template.id, template);
  }
  return [...templates.values()].sort((one, other) => one.name.localeCompare(other.name, "en"));
}

function parseTemplate(file: string, content: string): CatalogTemplate {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (cause) {
    throw broken(file, "it is not JSON", cause);
  }
  if (typeof value !== "object" || value === null) throw broken(file, "it is not an object");
  const { $schema: _, ...template } = value as Record<string, unknown>;
  const missing = required.find((field) => typeof template[field] !== "string");
  if (missing !== undefined) throw broken(file, `"${missing}" is missing`);
  // Just checked; the other fields travel as they are.
  return template as CatalogTemplate;
}

function broken(file: string, why: string, cause?: unknown): Corrupt {
  return new Corrupt("catalog_broken", `The catalog file ${file} cannot be used: ${why}`, { cause });
}
