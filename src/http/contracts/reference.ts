/** Contracts of the description of the API itself. */
import { open } from "../openapi/contract.ts";
import { text } from "../openapi/schema.ts";

const cached = { ETag: "Changes with the document", "Cache-Control": "Five minutes" };
const unchanged = { description: "It is what `If-None-Match` names" };
const headers = { "If-None-Match": text("`ETag` of what you have") };

export const getOpenApi = open({
  area: "Instance",
  method: "GET",
  path: "/openapi.json",
  operation: "getOpenApi",
  does: "This document",
  initGate: false,
  headers,
  answers: {
    200: {
      description: "OpenAPI 3.1",
      content: { "application/json": { type: "object", additionalProperties: true } },
      headers: cached,
    },
    304: unchanged,
  },
});

export const showReference = open({
  area: "Pages",
  method: "GET",
  path: "/openapi",
  operation: "showReference",
  does: "This document as a page for people",
  initGate: false,
  headers,
  answers: { 200: { description: "A page", content: { "text/html": text() }, headers: cached }, 304: unchanged },
});
