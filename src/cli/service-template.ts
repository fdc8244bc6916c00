/** Services made from a template of the catalog: where it is and how it authenticates, with what the flags change. */
import type { Client } from "../client/client.ts";
import type { Template } from "../client/wire.ts";
import { InvalidInput, NotFound, UsageError } from "../errors.ts";
import { authTypes, parseSubstitution, refuseFlagsOfOtherTypes, type ServiceFlagValues } from "./service-flags.ts";
import { suggest } from "./suggest.ts";

/** @throws {NotFound} `template_not_found`, with templates of a like name. */
export async function getTemplate(client: Client, id: string): Promise<Template> {
  const { services: templates } = await client.catalog();
  const found = templates.find((template) => template.id === id);
  if (found) return found;
  const near = suggest(
    id,
    templates.map((template) => template.id),
  );
  throw new NotFound("template_not_found", `The catalog has no template "${id}"`, {
    hint: near.length > 0 ? near.join(" or ") : `agent-vault catalog search ${id}`,
  });
}

/**
 * The service that a template describes, in the form of the API and without a name when none is given.
 * @throws {UsageError} for flags that do not go with the template, and where it leaves something to the person.
 * @throws {InvalidInput} `template_unusable`, for one that no auth type can express.
 */
export function serviceFromTemplate(
  template: Template,
  flags: ServiceFlagValues,
  given: ReadonlySet<string>,
): Record<string, unknown> {
  if (given.has("auth-type")) {
    throw new UsageError("template_and_auth_type", "--template and --auth-type exclude each other", {
      hint: "leave --template out to describe the service by flags alone",
    });
  }
  const substitutions = [...(template.substitutions ?? []), ...flags.substitute.map(parseSubstitution)];
  return {
    ...(flags.name !== undefined && { name: flags.name }),
    host: hostOf(template, flags.host),
    auth: authOf(template, flags, given),
    ...(substitutions.length > 0 && { substitutions }),
    ...(template.strip_headers && { strip_headers: template.strip_headers }),
  };
}

/** Is it for hosts of many customers, one of which is meant? */
export function needsHost({ host }: Template): boolean {
  return host.startsWith("*.");
}

/**
 * Under `*.zendesk.com` anybody may have a name. A service for all of them would send the credential to whichever of
 * them an agent is talked into calling, so whoever adds it says which one is meant.
 */
function hostOf(template: Template, named: string | undefined): string {
  if (named !== undefined) return named;
  const { id, host } = template;
  if (!needsHost(template)) return host;
  throw new UsageError("template_needs_host", `The template "${id}" is for ${host}: say which host is yours`, {
    hint: `--host ${host.replace("*", "yours")}`,
  });
}

function authOf(template: Template, flags: ServiceFlagValues, given: ReadonlySet<string>): Record<string, unknown> {
  const { id, suggested_credential_key: key } = template;
  const type = authTypes.find((known) => known === template.auth_type);
  if (type === undefined) {
    throw new InvalidInput("template_unusable", `This program does not know how "${id}" authenticates`, {
      hint: "a newer agent-vault",
    });
  }
  refuseFlagsOfOtherTypes(type, given, `the template "${id}", which is ${type}`);
  switch (type) {
    case "bearer":
      return { type, token: flags["token-key"] ?? key };
    case "basic": {
      const username = flags["username-key"] ?? template.suggested_username_key;
      if (username === undefined) {
        throw new UsageError("auth_flag_missing", `The template "${id}" needs --username-key`, {
          hint: `--username-key ${key?.replace(/_[A-Z]+$/, "_USERNAME") ?? "USERNAME"}`,
        });
      }
      return { type, username, password: flags["password-key"] ?? key };
    }
    case "api-key": {
      const header = given.has("api-key-header") ? flags["api-key-header"] : template.header;
      const prefix = flags["api-key-prefix"] ?? template.prefix;
      return { type, key: flags["api-key-key"] ?? key, header, ...(prefix && { prefix }) };
    }
    case "custom":
      return { type, headers: headersOf(template, given) };
    case "passthrough":
      return { type };
  }
}

function headersOf({ id, headers }: Template, given: ReadonlySet<string>): Readonly<Record<string, string>> {
  if (given.has("custom-header")) {
    throw new UsageError("stray_flag", `--custom-header does not go with the template "${id}", which has its headers`);
  }
  if (headers && Object.keys(headers).length > 0) return headers;
  throw new InvalidInput("template_unusable", `No auth type can express how "${id}" authenticates yet`, {
    hint: `agent-vault catalog show ${id}`,
  });
}

/** What a request carries, in one line, such as `Authorization: Bearer {{ STRIPE_SECRET_KEY }}`; one line for each. */
export function injectionOf(template: Template): readonly string[] {
  const key = `{{ ${template.suggested_credential_key ?? "KEY"} }}`;
  const placeholders = (template.substitutions ?? []).map(
    (each) => `${each.placeholder} in the ${(each.in ?? ["path", "query"]).join(" and the ")}: {{ ${each.key} }}`,
  );
  switch (template.auth_type) {
    case "bearer":
      return [`Authorization: Bearer ${key}`, ...placeholders];
    case "basic": {
      const user = `{{ ${template.suggested_username_key ?? "USERNAME"} }}`;
      return [`Authorization: Basic, of ${user} and ${key}`, ...placeholders];
    }
    case "api-key":
      return [`${template.header ?? "Authorization"}: ${template.prefix ?? ""}${key}`, ...placeholders];
    case "custom":
      return [...Object.entries(template.headers ?? {}).map(([name, value]) => `${name}: ${value}`), ...placeholders];
    default:
      return placeholders;
  }
}

/** The credentials that a service of this template names, the suggested one first. */
export function keysOf(template: Template): readonly string[] {
  const { suggested_credential_key: key, suggested_username_key: username } = template;
  const inHeaders = Object.values(template.headers ?? {}).flatMap((value) =>
    [...value.matchAll(/\{\{ ([A-Z][A-Z0-9_]*) \}\}/g)].map((match) => match[1] ?? ""),
  );
  const inPlaceholders = (template.substitutions ?? []).map((each) => each.key);
  return [
    ...new Set([key, username, ...inHeaders, ...inPlaceholders].filter((name): name is string => name !== undefined)),
  ];
}
