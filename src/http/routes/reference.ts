/** The description of the API: for programs as OpenAPI, for people as a page. */
import { createHash } from "node:crypto";
import { buildInfo } from "../../runtime/build-info.ts";
import { getOpenApi, showReference } from "../contracts/reference.ts";
import { buildDocument } from "../openapi/document.ts";
import { referencePage, referencePolicy } from "../openapi/reference-page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

interface Content {
  readonly body: string;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Registered last: the document holds the routes that the router has when it is asked for first. */
export function registerReferenceRoutes(router: ApiRouter): void {
  const document = once(() =>
    buildDocument(
      router.list().map(({ contract }) => contract),
      buildInfo.version,
    ),
  );
  const json = once(() => contentOf(`${JSON.stringify(document())}\n`, { "content-type": "application/json" }));
  const page = once(() =>
    contentOf(referencePage(document()), {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": referencePolicy,
    }),
  );
  router.on(getOpenApi, (request) => answer(request, json()));
  router.on(showReference, (request) => answer(request, page()));
}

function answer({ headers }: ApiRequest, { body, etag, headers: own }: Content): Response {
  const cached = { etag, "cache-control": "public, max-age=300" };
  const known = (headers.get("if-none-match") ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  if (known.includes(etag) || known.includes("*")) return new Response(null, { status: 304, headers: cached });
  return new Response(body, { headers: { ...own, ...cached, "content-length": String(Buffer.byteLength(body)) } });
}

function contentOf(body: string, headers: Readonly<Record<string, string>>): Content {
  return { body, etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 27)}"`, headers };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
