/**
 * The document as a page for people: one HTML file without scripts, fonts or images, that prints, searches and folds
 * with what every browser has.
 */
import { createHash } from "node:crypto";
import { type OpenApiDocument, type Operation, type OperationResponse, resolveResponse } from "./document-form.ts";
import { errorCodes } from "./error-codes.ts";
import type { Schema } from "./schema.ts";

const style = [
  ":root{color-scheme:light dark;--line:#d5d9df;--soft:#5b6470;--back:#f5f6f8}",
  "@media(prefers-color-scheme:dark){:root{--line:#353c45;--soft:#9aa4b1;--back:#1d2227}}",
  "body{font:16px/1.55 system-ui,sans-serif;margin:0 auto;max-width:58rem;padding:1rem 1.25rem 6rem}",
  "h1{font-size:1.7rem;margin:1.5rem 0 .5rem}h2{font-size:1.3rem;margin:2.5rem 0 .25rem;border-bottom:1px solid var(--line)}",
  "h3{font-size:.95rem;margin:1rem 0 .25rem}code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}",
  "nav ul{columns:14rem;padding-left:1.1rem}p.soft,.soft{color:var(--soft)}",
  "details.op{border:1px solid var(--line);border-radius:6px;margin:.5rem 0}details.op>summary{padding:.5rem .75rem;cursor:pointer}",
  "details.op>div{padding:0 .75rem .75rem;border-top:1px solid var(--line)}summary b{display:inline-block;min-width:4.2rem}",
  "summary .soft{display:block;margin-left:4.2rem}",
  "table{border-collapse:collapse;width:100%;margin:.25rem 0}th,td{text-align:left;vertical-align:top;padding:.25rem .5rem;border-bottom:1px solid var(--line)}",
  "th{font-weight:600;background:var(--back)}ul.fields{margin:.25rem 0;padding-left:1.1rem}ul.fields ul{padding-left:1.1rem}",
].join("");

/** Nothing may be loaded, run, framed or sent from here. */
export const referencePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

export function referencePage(document: OpenApiDocument): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const chapters = document.tags
    .map(({ name, description }) => ({
      name,
      description,
      operations: operations.filter(({ operation }) => operation.tags.includes(name)),
    }))
    .filter((chapter) => chapter.operations.length > 0);
  return [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    `<title>API reference - agent-vault</title><style>${style}</style></head><body>`,
    `<header><h1>agent-vault API</h1><p class="soft">Version ${escapeHtml(document.info.version)}. For programs: <a href="/openapi.json"><code>/openapi.json</code></a> (OpenAPI 3.1).</p>`,
    `${paragraphs(document.info.description)}</header>`,
    '<nav aria-label="Chapters"><ul>',
    ...chapters.map(({ name, operations: { length } }) => `<li><a href="#${name}">${name}</a> (${length})</li>`),
    '<li><a href="#schemas">Shapes</a></li><li><a href="#errors">Errors</a></li></ul></nav><main>',
    ...chapters.flatMap((chapter) => [
      `<section id="${chapter.name}"><h2>${chapter.name}</h2><p class="soft">${inline(chapter.description)}</p>`,
      ...chapter.operations.map(({ path, method, operation }) => operationHtml(document, { method, path, operation })),
      "</section>",
    ]),
    '<section id="schemas"><h2>Shapes</h2>',
    ...Object.entries(document.components.schemas).map(
      ([name, schema]) =>
        `<details class="op" id="shape-${name}"><summary><code>${name}</code></summary><div>${schemaHtml(schema)}</div></details>`,
    ),
    "</section>",
    '<section id="errors"><h2>Errors</h2><table><thead><tr><th>Code</th><th>Status</th><th>Meaning</th></tr></thead><tbody>',
    ...[...errorCodes].map(
      ([code, { status, means }]) =>
        `<tr><td><code>${code}</code></td><td>${status}</td><td>${inline(means)}</td></tr>`,
    ),
    "</tbody></table></section></main></body></html>",
    "",
  ].join("\n");
}

function operationHtml(
  document: OpenApiDocument,
  { method, path, operation }: { readonly method: string; readonly path: string; readonly operation: Operation },
): string {
  const { operationId, summary, description, parameters, requestBody, responses } = operation;
  const body = requestBody?.content["application/json"]?.schema;
  return [
    `<details class="op"><summary><b>${method}</b> <code>${escapeHtml(path)}</code><span class="soft">${inline(summary)}</span></summary>`,
    // The browser opens what encloses the target of a link.
    `<div id="${operationId}">${paragraphs(description)}`,
    parameters.length === 0 ? "" : parametersHtml(operation),
    body === undefined ? "" : `<h3>Body${requestBody?.required === false ? " (optional)" : ""}</h3>${schemaHtml(body)}`,
    "<h3>Answers</h3>",
    ...Object.entries(responses).map(([status, response]) => {
      const resolved = resolveResponse(document, response);
      return resolved === undefined ? "" : responseHtml(status, resolved);
    }),
    "</div></details>",
  ].join("\n");
}

function parametersHtml({ parameters }: Operation): string {
  const rows = parameters.map(
    ({ name, in: place, required, schema }) =>
      `<tr><td><code>${escapeHtml(name)}</code></td><td>${place}${required ? ", needed" : ""}</td><td>${typeOf(schema)}</td><td>${inline(describe(schema))}</td></tr>`,
  );
  return `<h3>Parameters</h3><table><thead><tr><th>Name</th><th>Where</th><th>Type</th><th>Meaning</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function responseHtml(status: string, { description, content, headers }: OperationResponse): string {
  if (Number(status) >= 400) {
    const lines = description.split("\n").map((line) => `<li>${inline(line)}</li>`);
    return `<p><b>${status}</b></p><ul class="fields">${lines.join("")}</ul>`;
  }
  const shown = Object.entries(content ?? {}).map(
    ([type, { schema }]) =>
      `<p class="soft"><code>${escapeHtml(type)}</code></p>${type === "application/json" ? schemaHtml(schema) : ""}`,
  );
  const names = Object.keys(headers ?? {}).map((name) => `<code>${escapeHtml(name)}</code>`);
  const also = names.length === 0 ? "" : `<p class="soft">Headers: ${names.join(", ")}</p>`;
  return `<p><b>${status}</b> ${inline(description)}</p>${shown.join("")}${also}`;
}

/** What is inside: members of objects, items of lists, alternatives. */
function schemaHtml(schema: Schema): string {
  const alternatives = alternativesOf(schema);
  if (alternatives.length > 0) {
    return `<ul class="fields">${alternatives.map((one) => `<li>${typeOf(one)} ${inline(describe(one))}${isNested(one) ? schemaHtml(one) : ""}</li>`).join("")}</ul>`;
  }
  const members = Object.entries((schema.properties ?? {}) as Readonly<Record<string, Schema>>);
  if (members.length > 0) {
    const required = (schema.required ?? []) as readonly string[];
    const items = members.map(([name, member]) => {
      const optional = required.includes(name) ? "" : ' <span class="soft">optional</span>';
      const inner = isNested(member) ? schemaHtml(member) : "";
      return `<li><code>${escapeHtml(name)}</code> ${typeOf(member)}${optional} ${inline(describe(member))}${inner}</li>`;
    });
    return `<ul class="fields">${items.join("")}</ul>`;
  }
  const inner = schema.items ?? schema.additionalProperties;
  if (isSchema(inner)) return isNested(inner) ? schemaHtml(inner) : `<p>${typeOf(schema)}</p>`;
  return `<p>${typeOf(schema)} ${inline(describe(schema))}</p>`;
}

/** Is there more to show than its type says? */
function isNested(schema: Schema): boolean {
  if (alternativesOf(schema).length > 0) return !alternativesOf(schema).every((one) => !isNested(one));
  if (schema.properties !== undefined) return true;
  const inner = schema.items ?? schema.additionalProperties;
  return isSchema(inner) && isNested(inner);
}

function typeOf(schema: Schema): string {
  if (typeof schema.$ref === "string") {
    const name = escapeHtml(schema.$ref.split("/").at(-1) ?? "");
    return `<a href="#shape-${name}">${name}</a>`;
  }
  if ("const" in schema) return `<code>${escapeHtml(JSON.stringify(schema.const))}</code>`;
  if (Array.isArray(schema.enum)) {
    return schema.enum.map((value) => `<code>${escapeHtml(String(value))}</code>`).join(" | ");
  }
  const alternatives = alternativesOf(schema);
  if (alternatives.length > 0) return alternatives.some(isNested) ? "one of" : alternatives.map(typeOf).join(" | ");
  if (schema.type === "array" && isSchema(schema.items)) return `list of ${typeOf(schema.items)}`;
  if (schema.type === "object" && isSchema(schema.additionalProperties)) {
    return `map to ${typeOf(schema.additionalProperties)}`;
  }
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : String(schema.type ?? "anything");
  return `<span class="soft">${escapeHtml(type)}</span>`;
}

/** The description, and the limits that the schema states. */
function describe(schema: Schema): string {
  const limits = [
    schema.minimum === undefined ? "" : `at least ${schema.minimum}`,
    schema.maximum === undefined ? "" : `at most ${schema.maximum}`,
    schema.default === undefined ? "" : `${schema.default} without it`,
  ].filter((limit) => limit !== "");
  const about = typeof schema.description === "string" ? schema.description : "";
  if (limits.length === 0) return about;
  return about === "" ? limits.join(", ") : `${about} (${limits.join(", ")})`;
}

function alternativesOf(schema: Schema): readonly Schema[] {
  return ((schema.oneOf ?? schema.anyOf ?? []) as readonly Schema[]).filter(isSchema);
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function paragraphs(text: string): string {
  return text
    .split("\n\n")
    .map((paragraph) => `<p>${inline(paragraph)}</p>`)
    .join("");
}

/** The only Markdown that the texts have is code. */
function inline(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
