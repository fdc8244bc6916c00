/** Contracts of credentials (spec of the API, section 5). */
import { body, integer, needed, objectMap, string, strings, texts } from "../openapi/body.ts";
import { answer, authed, pageQuery, param } from "../openapi/contract.ts";
import { choice, flag, listOf, mapOf, maybe, named, shape, text, time, whole } from "../openapi/schema.ts";
import { credentialKey, nextCursor, vaultField, vaultQuery } from "./common.ts";

const area = "Credentials" as const;
const writes = { area, who: "vault-member" } as const;
const params = { key: credentialKey };

const details = {
  description: string(text("What it is; empty to remove it")),
  expires_at: string(text("When it ends, as a time or a day; empty to remove it")),
};

const credential = named(
  "Credential",
  shape({
    key: credentialKey,
    type: choice(["static", "oauth"]),
    value: maybe(text("Only where it was asked for")),
    version: whole("Goes up with every new value"),
    description: maybe(text()),
    expires_at: maybe(time()),
    last_used_at: maybe(time()),
    updated_at: time(),
    connected_at: maybe(time()),
    last_refreshed_at: maybe(time()),
    token_expires_at: maybe(time()),
    last_refresh_error: maybe(text()),
    authorization_url: maybe(text()),
    token_url: maybe(text()),
    client_id: maybe(text()),
    scopes: maybe(text()),
    scope_separator: maybe(text()),
    token_auth_method: maybe(text()),
    disable_pkce: maybe(flag()),
    client_secret: maybe(text("A mask, when there is one")),
    access_token: maybe(text("A mask, when there is one")),
    refresh_token: maybe(text("A mask, when there is one")),
  }),
);

export const listCredentials = authed({
  area,
  who: "vault-access",
  method: "GET",
  path: "/v1/credentials",
  operation: "listCredentials",
  does: "List the credentials of a vault, with their values if asked for",
  notes:
    "With role proxy only the names. With `reveal=true`, which needs role member, the values too; that is written into the audit log.",
  query: {
    vault: vaultQuery,
    ...pageQuery,
    reveal: param(choice(["true", "false"], "Whether to show values")),
    key: param(text("With `reveal=true`: only this one")),
  },
  answers: {
    200: answer(
      shape({
        keys: listOf(credentialKey),
        credentials: maybe(listOf(credential, "Left out when there is none")),
        next_cursor: nextCursor,
      }),
    ),
  },
  errors: ["vault_member_required", "credential_not_found", "seal_broken"],
});

export const setCredentials = authed({
  ...writes,
  method: "POST",
  path: "/v1/credentials",
  operation: "setCredentials",
  does: "Set values of credentials, all of them or none",
  body: body({
    vault: vaultField,
    credentials: needed(texts(mapOf(text("A value", { format: "password" }), "Values by key"))),
    details: objectMap(details, "By key, for keys that are set"),
  }),
  answers: { 200: answer(shape({ set: listOf(credentialKey) })) },
  errors: [
    "credentials_required",
    "invalid_credential_key",
    "invalid_description",
    "invalid_expiry",
    "external_credential_store",
  ],
});

export const deleteCredentials = authed({
  ...writes,
  method: "DELETE",
  path: "/v1/credentials",
  operation: "deleteCredentials",
  does: "Delete credentials, all of them or none",
  body: body({ vault: vaultField, keys: needed(strings(listOf(credentialKey))) }),
  answers: { 200: answer(shape({ deleted: listOf(credentialKey) })) },
  errors: ["keys_required", "credential_not_found", "external_credential_store"],
});

export const describeCredential = authed({
  ...writes,
  method: "PATCH",
  path: "/v1/credentials/{key}",
  operation: "describeCredential",
  does: "Say what a credential is and when it ends",
  params,
  body: body({ vault: vaultField, ...details }),
  answers: { 200: answer(credential) },
  errors: [
    "details_required",
    "invalid_description",
    "invalid_expiry",
    "credential_not_found",
    "external_credential_store",
  ],
});

export const listVersions = authed({
  ...writes,
  method: "GET",
  path: "/v1/credentials/{key}/versions",
  operation: "listCredentialVersions",
  does: "List the values that a credential had, without showing them",
  params,
  query: { vault: vaultQuery },
  answers: {
    200: answer(
      shape({
        key: credentialKey,
        versions: listOf(
          shape({
            version: whole(),
            created_at: time(),
            created_by: maybe(shape({ type: choice(["user", "agent"]), name: text() })),
            current: flag(),
          }),
        ),
      }),
    ),
  },
  errors: ["credential_not_found"],
});

export const restoreVersion = authed({
  ...writes,
  method: "POST",
  path: "/v1/credentials/{key}/restore",
  operation: "restoreCredential",
  does: "Make an earlier value the current one",
  params,
  body: body({
    vault: vaultField,
    version: needed(integer(whole("Which one", { minimum: 1, maximum: 2_147_483_647 }))),
  }),
  answers: { 200: answer(shape({ key: credentialKey, restored: whole(), version: whole("The number it has now") })) },
  errors: [
    "version_required",
    "credential_not_found",
    "credential_version_not_found",
    "external_credential_store",
    "seal_broken",
  ],
});
