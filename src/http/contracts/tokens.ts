/** Contracts of vault tokens (spec of accounts, 6.10). */
import { body, integer, needed, string } from "../openapi/body.ts";
import { answer, authed, neededParam, pageQuery } from "../openapi/contract.ts";
import { choice, constant, listOf, maybe, named, shape, text, time, whole } from "../openapi/schema.ts";
import { nextCursor, vaultRole } from "./common.ts";

const member = { area: "Tokens", who: "vault-member" } as const;
const vault = neededParam(text("Name of the vault"));

export const mintToken = authed({
  ...member,
  method: "POST",
  path: "/v1/sessions",
  operation: "mintVaultToken",
  does: "Mint a token of one vault, for the proxy",
  body: body({
    vault: needed(string(text("Name of the vault"))),
    vault_role: string(choice(["proxy"])),
    ttl_seconds: integer(whole("A day without it", { minimum: 300, maximum: 604_800 })),
    label: string(text("For the list; at most 100 characters")),
  }),
  answers: {
    200: answer(
      shape({
        id: text("Public id of the token"),
        token: text("The token, shown only now"),
        expires_at: time(),
        av_addr: maybe(text("Address of this server", { format: "uri" })),
      }),
    ),
  },
  errors: ["missing_field", "invalid_role", "invalid_ttl", "invalid_label"],
});

export const listTokens = authed({
  ...member,
  method: "GET",
  path: "/v1/sessions",
  operation: "listVaultTokens",
  does: "List the tokens of a vault, the newest first",
  query: { vault, ...pageQuery },
  answers: {
    200: answer(
      shape({
        sessions: listOf(
          named(
            "VaultToken",
            shape({
              id: text("Public id of the token"),
              label: maybe(text()),
              vault_role: vaultRole,
              created_by: maybe(shape({ id: text(), type: choice(["user", "agent"]), display_name: text() })),
              created_at: time(),
              expires_at: maybe(time()),
            }),
          ),
        ),
        next_cursor: nextCursor,
      }),
    ),
  },
  errors: ["missing_field"],
});

export const revokeToken = authed({
  ...member,
  method: "DELETE",
  path: "/v1/sessions/{id}",
  operation: "revokeVaultToken",
  does: "Revoke a token of a vault",
  params: { id: text("Public id of the token") },
  query: { vault },
  answers: { 200: answer(shape({ status: constant("revoked") })) },
  errors: ["missing_field", "session_not_found"],
});
