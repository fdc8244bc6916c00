/** Contracts of services (spec of the API, sections 3 and 4). */
import { body, boolean, type Field, needed, rawList } from "../openapi/body.ts";
import { answer, authed, neededParam, open, pageQuery } from "../openapi/contract.ts";
import { constant, flag, listOf, mapOf, maybe, named, shape, text, whole } from "../openapi/schema.ts";
import { candidates, credentialKey, nextCursor } from "./common.ts";
import { sentService, service } from "./service-shapes.ts";

const path = "/v1/vaults/{name}/services";
const reads = { area: "Services", who: "vault-access" } as const;
const writes = { area: "Services", who: "vault-admin" } as const;
const reference = text("Name of the service, or its host where that fits one service only");

export const listServices = authed({
  ...reads,
  method: "GET",
  path,
  operation: "listServices",
  does: "List the services of a vault in the order in which they are stored",
  query: pageQuery,
  answers: {
    200: {
      ...answer(shape({ vault: text(), services: listOf(service), next_cursor: nextCursor })),
      headers: { ETag: "Of the whole list, for `If-Match`; not on a page" },
    },
  },
  errors: ["service_unreadable"],
});

export const showCredentialUsage = authed({
  ...reads,
  method: "GET",
  path: `${path}/credential-usage`,
  operation: "showCredentialUsage",
  does: "List the services that use a credential",
  query: { ...pageQuery, key: neededParam(credentialKey) },
  answers: { 200: answer(shape({ services: candidates, next_cursor: nextCursor })) },
  errors: ["service_unreadable", "key_required"],
});

export const upsertServices = authed({
  ...writes,
  method: "POST",
  path,
  operation: "upsertServices",
  does: "Add services, and replace those of the same name",
  body: body({ services: needed(rawList(sentService)) }),
  answers: { 200: answer(shape({ vault: text(), upserted: listOf(text()), services_count: whole() })) },
  errors: ["service_unreadable", "services_required", "invalid_service", "description_not_supported"],
});

/** `null` empties the list, and a missing one is refused. */
const wholeList: Field<readonly unknown[] | undefined> = {
  ...needed(rawList(sentService, "All services of the vault; empty to remove them all")),
  read: (from, name) => (from.mentions(name) ? (from.list(name) ?? []) : undefined),
};

export const replaceServices = authed({
  ...writes,
  method: "PUT",
  path,
  operation: "replaceServices",
  does: "Replace all services of a vault",
  headers: { "If-Match": text("`ETag` of the list that is to be replaced; without it any will do") },
  body: body({ services: wholeList }, { prefix: "Invalid services: " }),
  answers: { 200: answer(shape({ vault: text(), services_count: whole() })) },
  errors: [
    "service_unreadable",
    "services_required",
    "invalid_service",
    "description_not_supported",
    "services_changed",
  ],
});

export const clearServices = authed({
  ...writes,
  method: "DELETE",
  path,
  operation: "clearServices",
  does: "Remove all services of a vault",
  answers: { 200: answer(shape({ vault: text(), cleared: constant(true) })) },
});

export const switchService = authed({
  ...writes,
  method: "PATCH",
  path: `${path}/{ref}`,
  operation: "switchService",
  does: "Switch a service on or off",
  params: { ref: reference },
  body: body({ enabled: needed(boolean()) }),
  answers: { 200: answer(shape({ vault: text(), name: text(), host: text(), enabled: flag() })) },
  errors: ["service_unreadable", "nothing_to_change", "service_not_found", "ambiguous_service"],
});

export const removeService = authed({
  ...writes,
  method: "DELETE",
  path: `${path}/{ref}`,
  operation: "removeService",
  does: "Remove a service",
  params: { ref: reference },
  answers: {
    200: answer(shape({ vault: text(), removed: text(), removed_host: text(), services_count: whole() })),
  },
  errors: ["service_unreadable", "service_not_found", "ambiguous_service"],
});

export const showCatalog = open({
  area: "Services",
  method: "GET",
  path: "/v1/service-catalog",
  operation: "showServiceCatalog",
  does: "List templates of services",
  answers: {
    200: answer(
      shape({
        services: listOf(
          named(
            "ServiceTemplate",
            shape({
              id: text(),
              name: text(),
              host: text(),
              description: text(),
              category: text("What people look for when they look for it"),
              docs: text("Where the provider says how to authenticate"),
              notes: maybe(text()),
              auth_type: text(),
              suggested_credential_key: credentialKey,
              suggested_username_key: maybe(credentialKey),
              header: maybe(text()),
              prefix: maybe(text()),
              headers: maybe(mapOf(text())),
              substitutions: maybe(listOf(shape({ key: credentialKey, placeholder: text(), in: listOf(text()) }))),
              strip_headers: maybe(listOf(text())),
            }),
          ),
        ),
      }),
    ),
  },
});

export const showSkill = open({
  area: "Agent",
  method: "GET",
  path: "/v1/skills/cli",
  operation: "showSkill",
  does: "The instructions for agents, as Markdown",
  answers: {
    200: { description: "Markdown", content: { "text/markdown": text() } },
    404: { description: "This build has none", content: { "text/plain": text() } },
  },
});
