/** Contracts of OAuth credentials (spec of the API, section 6). */
import { body, boolean, needed, string } from "../openapi/body.ts";
import { answer, authed, neededParam, open, param } from "../openapi/contract.ts";
import { choice, constant, flag, listOf, maybe, named, shape, text, time } from "../openapi/schema.ts";
import { credentialKey, vaultField, vaultQuery } from "./common.ts";

const writes = { area: "OAuth", who: "vault-member" } as const;
const key = needed(string(credentialKey));
const url = (description: string) => string(text(description, { format: "uri" }));
const method = text("`client_secret_post` or `client_secret_basic`");
const secret = string(text("The mask `••••••••` keeps the one that is stored", { format: "password" }));
const keyErrors = ["key_required", "invalid_credential_key"] as const;

const status = named(
  "OAuthStatus",
  shape({ connected: flag(), connected_at: maybe(time()), last_error: maybe(text()) }),
);

export const listProviders = open({
  area: "OAuth",
  method: "GET",
  path: "/v1/oauth/providers",
  operation: "listOAuthProviders",
  does: "List providers whose addresses are known",
  initGate: false,
  answers: {
    200: answer(
      shape({
        providers: listOf(
          named(
            "OAuthProvider",
            shape({
              id: text(),
              name: text(),
              suggested_credential_key: credentialKey,
              authorization_url: text(),
              token_url: text(),
              token_auth_method: choice(["client_secret_post", "client_secret_basic"]),
              scope_separator: text(),
              suggested_scopes: listOf(text()),
            }),
          ),
        ),
      }),
    ),
  },
});

export const connect = authed({
  ...writes,
  method: "POST",
  path: "/v1/credentials/oauth/connect",
  operation: "connectOAuth",
  does: "Begin to connect a credential at a provider",
  notes: "A `provider` fills in what is left out. Open the address of the answer in a browser.",
  body: body({
    vault: vaultField,
    key,
    provider: string(text("Id of a known provider")),
    authorization_url: url("Where the person consents"),
    token_url: url("Where tokens are issued"),
    client_id: needed(string(text("Id of your client there"))),
    client_secret: secret,
    scopes: string(text("As the provider wants them")),
    scope_separator: string(text("A blank without it")),
    disable_pkce: boolean(),
    token_auth_method: string(method),
  }),
  answers: { 200: answer(shape({ authorization_url: text("For a browser", { format: "uri" }) })) },
  errors: [
    ...keyErrors,
    "invalid_oauth_settings",
    "oauth_provider_not_found",
    "oauth_wrong_origin",
    "external_credential_store",
  ],
});

export const confirm = authed({
  ...writes,
  method: "POST",
  path: "/v1/credentials/oauth/confirm",
  operation: "confirmOAuth",
  does: "Complete a connection that was begun outside of a browser",
  body: body({ vault: vaultField, key, code: needed(string(text("The code that the page showed"))) }),
  answers: { 200: answer(status) },
  errors: [
    ...keyErrors,
    "invalid_oauth_settings",
    "oauth_confirmation_wrong",
    "oauth_state_expired",
    "oauth_credential_not_found",
  ],
});

export const callback = open({
  area: "Pages",
  method: "GET",
  path: "/v1/oauth/callback",
  operation: "oauthCallback",
  does: "Where a provider sends the browser back to",
  query: {
    code: param(text()),
    state: param(text()),
    error: param(text()),
  },
  answers: {
    200: { description: "A page with a code to confirm", content: { "text/html": text() } },
    302: { description: "To the page that says how it ended", headers: { Location: "That page" } },
  },
});

export const complete = open({
  area: "Pages",
  method: "GET",
  path: "/oauth/complete",
  operation: "oauthComplete",
  does: "The page at the end of a connection",
  initGate: false,
  query: { status: param(text("`success` or `error`")), message: param(text("One of the server's own sentences")) },
  answers: { 200: { description: "A page", content: { "text/html": text() } } },
});

export const showStatus = authed({
  ...writes,
  method: "GET",
  path: "/v1/credentials/oauth/status",
  operation: "showOAuthStatus",
  does: "Say whether an OAuth credential is connected",
  query: { vault: vaultQuery, key: neededParam(credentialKey) },
  answers: { 200: answer(status) },
  errors: ["key_required", "oauth_credential_not_found"],
});

export const uploadTokens = authed({
  ...writes,
  method: "POST",
  path: "/v1/credentials/oauth/tokens",
  operation: "uploadOAuthTokens",
  does: "Store tokens that were obtained elsewhere",
  notes: "At least one token. What else is left out is taken from the stored settings.",
  body: body({
    vault: vaultField,
    key,
    access_token: secret,
    refresh_token: secret,
    token_url: url("Where the refresh token can be used"),
    client_id: string(text("Id of your client there")),
    client_secret: secret,
    token_auth_method: string(method),
  }),
  answers: { 200: answer(shape({ connected: constant(true), connected_at: time() })) },
  errors: [
    ...keyErrors,
    "invalid_oauth_settings",
    "oauth_refresh_token_refused",
    "oauth_no_token_to_keep",
    "oauth_changed_meanwhile",
    "external_credential_store",
  ],
});

export const disconnect = authed({
  ...writes,
  method: "POST",
  path: "/v1/credentials/oauth/disconnect",
  operation: "disconnectOAuth",
  does: "Forget the tokens of an OAuth credential",
  body: body({ vault: vaultField, key }),
  answers: { 200: answer(shape({ connected: constant(false) })) },
  errors: [...keyErrors, "oauth_credential_not_found", "external_credential_store"],
});
