/** Service documents: the YAML that `service list` prints and `service set` and `add` read. */
import { stringify } from "yaml";
import { InvalidInput } from "../errors.ts";
import { type Located, parseLocatedYaml } from "./located-yaml.ts";

/** Fields that a service may have. Another one is a mistake that the server would drop without a word. */
export const serviceFields: readonly string[] = [
  ...["name", "host", "path", "port", "enabled", "auth", "substitutions", "description"],
  ...["schemes", "methods", "scrub", "strip_headers", "set_cookie", "raw"],
];

/** Fields of any auth type; which go together is checked where the types are known. */
const authFields: readonly string[] = ["type", "token", "username", "password", "key", "header", "prefix", "headers"];
const substitutionFields: readonly string[] = ["key", "placeholder", "in"];

/**
 * @param source what the text came from, for messages
 * @throws {InvalidInput} with the line: malformed YAML, unknown fields, and a document without `services`.
 */
export function parseServiceFile(text: string, source: string): readonly Record<string, unknown>[] {
  const root = parseLocatedYaml(text, source);
  const services = root.isMissing ? undefined : root.fields("the document", ["vault", "services"]).get("services");
  if (!services) {
    throw new InvalidInput("services_missing", `There is no list "services" in ${source}`, {
      hint: "an empty list, services: [], is written out when all of them should go",
    });
  }
  return services.items("services").map((place) => {
    refuseUnknownFields(place);
    return joinHost(place);
  });
}

/** What the server would drop without a word is a mistake here. @throws {InvalidInput} `unknown_field`. */
export function refuseUnknownFields(place: Located): void {
  const fields = place.fields("a service", serviceFields);
  fields.get("auth")?.fields("auth", authFields);
  for (const item of fields.get("substitutions")?.items("substitutions") ?? []) {
    item.fields("a substitution", substitutionFields);
  }
}

/** The document of a vault, which `parseServiceFile` reads back. */
export function formatServiceFile(vault: string, services: readonly unknown[]): string {
  return stringify({ vault, services }, { lineWidth: 0 });
}

/** Folds separate `port` and `path` into the host. @throws {InvalidInput} when the host names others. */
function joinHost(place: Located): Record<string, unknown> {
  const { port, path, description: _, ...service } = place.value() as Record<string, unknown>;
  if (port === undefined && path === undefined) return service;
  const { host } = service;
  if (typeof host !== "string") throw place.wrong("bad_service", "this service has no host");
  const match = /^([^/]*?)(?::(\d+))?(\/.*)?$/.exec(host);
  const [, name = host, inlinePort, inlinePath] = match ?? [];
  if (port !== undefined && inlinePort !== undefined && String(port) !== inlinePort) {
    throw place.wrong("ports_differ", `this service names the port ${inlinePort} in its host and ${port} beside it`);
  }
  if (path !== undefined && inlinePath !== undefined && path !== inlinePath) {
    throw place.wrong("paths_differ", `this service names the path ${inlinePath} in its host and ${path} beside it`);
  }
  const joinedPort = inlinePort ?? port;
  return { ...service, host: `${name}${joinedPort === undefined ? "" : `:${joinedPort}`}${inlinePath ?? path ?? ""}` };
}

/** A name for a service that was given none: `api.stripe.com/v1/*` becomes `api-stripe-com-v1`, with a number if taken. */
export function deriveName(host: string, taken: ReadonlySet<string>): string {
  const slug = host
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60)
    .replace(/-+$/, "");
  const base = slug.length >= 3 ? slug : `service-${slug || "1"}`;
  if (!taken.has(base)) return base;
  for (let number = 2; ; number++) if (!taken.has(`${base}-${number}`)) return `${base}-${number}`;
}
