/**
 * Services and credential slots as they are sent and shown. Parsed in domain/services/definition.ts and
 * domain/proposals/slot.ts; test/http/openapi/inputs.test.ts holds these shapes to what the parsers ask for.
 */
import {
  choice,
  constant,
  flag,
  listOf,
  mapOf,
  maybe,
  named,
  oneOf,
  type Schema,
  shape,
  text,
} from "../openapi/schema.ts";
import { credentialKey, slug } from "./common.ts";

const key = credentialKey;

const auth = named(
  "ServiceAuth",
  oneOf(
    shape({ type: constant("bearer"), token: key }, "`Authorization: Bearer <value>`"),
    shape({ type: constant("basic"), username: key, password: maybe(key) }, "`Authorization: Basic …`"),
    shape(
      { type: constant("api-key"), key, header: maybe(text("`Authorization` without it")), prefix: maybe(text()) },
      "`<header>: <prefix><value>`",
    ),
    shape(
      { type: constant("custom"), headers: mapOf(text("A text with `{{ KEY }}` in it")) },
      "Each header with its references replaced",
    ),
    shape({ type: constant("passthrough") }, "Nothing is injected"),
  ),
);

const surface = choice(["path", "query", "header", "body", "websocket"]);
const substitutionMembers = {
  key,
  placeholder: text("What the agent sends in its place; recommended is `__name__`", {
    minLength: 4,
    pattern: "^[A-Za-z0-9_.~-]+$",
  }),
};
const substitution = named("Substitution", shape({ ...substitutionMembers, in: listOf(surface) }));
const sentSubstitution = shape({ ...substitutionMembers, in: maybe(listOf(surface, "`path` and `query` without it")) });

const optional = {
  enabled: maybe(flag("A disabled service refuses what it would match")),
  schemes: maybe(listOf(choice(["https", "http"]), "Where a credential may be injected; `https` without it")),
  methods: maybe(listOf(text(), "Methods that are let through; any without it")),
  scrub: maybe(choice(["off", "detect", "redact", "block"], "What happens to injected values in answers")),
  strip_headers: maybe(listOf(text(), "Headers that are removed from the agent's request")),
  set_cookie: maybe(choice(["strip", "pass"])),
  raw: maybe(flag("Tunnels to the host are left alone; not in proposals")),
};
const host = text("`host`, `host:port`, `host/path` or `*.suffix`");
const path = maybe(text("A path pattern, where `host` has none"));

export const service = named(
  "Service",
  shape({ name: slug("Unique in the vault"), host, auth, substitutions: maybe(listOf(substitution)), ...optional }),
);

/** As it is sent: the path may stand apart, and a service that is known by its pattern needs no name. */
export const sentService = named(
  "ServiceInput",
  shape({
    name: maybe(slug("Unique in the vault; not needed for a service with the same pattern")),
    host,
    path,
    auth,
    substitutions: maybe(listOf(sentSubstitution)),
    ...optional,
  }),
);

export const sentProposedService = named(
  "ProposedServiceInput",
  shape({
    action: choice(["set", "delete"]),
    name: maybe(slug("Name of the service")),
    host,
    path,
    auth: maybe(auth),
    substitutions: maybe(listOf(sentSubstitution)),
    ...optional,
  }),
);

export const proposedService = named(
  "ProposedService",
  shape({
    action: choice(["set", "delete"]),
    name: text(),
    host,
    auth: maybe(auth),
    substitutions: maybe(listOf(substitution)),
    ...optional,
  }),
);

const oauth = shape({
  token_url: text("", { format: "uri" }),
  authorization_url: maybe(text("", { format: "uri" })),
  client_id: maybe(text()),
  scopes: maybe(text()),
  scope_separator: maybe(text()),
  disable_pkce: maybe(flag()),
  token_auth_method: maybe(choice(["client_secret_post", "client_secret_basic"])),
});

const slotMembers: Readonly<Record<string, Schema>> = {
  action: choice(["set", "delete"]),
  key,
  type: maybe(choice(["static", "oauth"])),
  description: maybe(text("What it is, for whoever obtains it", { maxLength: 500 })),
  obtain: maybe(text("Where a value can be had", { format: "uri", maxLength: 500 })),
  obtain_instructions: maybe(text("How a value can be had", { maxLength: 1000 })),
  oauth: maybe(oauth),
};

export const slot = named(
  "CredentialSlot",
  shape({ ...slotMembers, has_value: maybe(flag("The agent has supplied a value")) }),
);

export const sentSlot = named(
  "CredentialSlotInput",
  shape({
    ...slotMembers,
    value: maybe(text("A value that the agent has; it is kept sealed", { format: "password" })),
  }),
);
