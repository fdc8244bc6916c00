import type { HeaderList } from "../http1/fields.ts";
import { encodeHeader, encodePath, encodeQuery } from "./encode.ts";
import { RefusedSubstitution, valueUnusable } from "./refused-substitution.ts";
import type { PlaceholderSet, Substitutions } from "./substitutions.ts";

/**
 * A request target with values in place of placeholders; the same string when it holds none that is declared there.
 *
 * @param target origin form, byte for byte as the agent sent it, already matched to the service.
 * @throws {UpstreamFailed} `credential_unusable` when a value would change the shape of the path.
 */
export function substituteTarget(substitutions: Substitutions, target: string): string {
  const mark = target.indexOf("?");
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = mark === -1 ? "" : target.slice(mark);
  const onPath = substitutions.on("path");
  const onQuery = substitutions.on("query");
  const newPath = onPath === undefined ? path : substitutePath(onPath, path);
  const newQuery = onQuery === undefined ? query : onQuery.replaceIn(query, encodeQuery);
  return newPath === path && newQuery === query ? target : newPath + newQuery;
}

/** Values bring no separators along, so the segments stay; none of them may become one of dots. */
function substitutePath(placeholders: PlaceholderSet, path: string): string {
  let lastKey = "";
  return path
    .split("/")
    .map((segment) => {
      const replaced = placeholders.replaceIn(segment, (value, key) => {
        lastKey = key;
        return encodePath(value, key);
      });
      if (replaced !== segment && /^(?:\.|%2e)+(?:(?:;|%3b).*)?$/i.test(replaced)) {
        throw valueUnusable(lastKey, "would make a segment of dots in the path");
      }
      return replaced;
    })
    .join("/");
}

/** Where the message goes and how it is framed is not for a value to say. */
const neverLookedAt: ReadonlySet<string> = new Set([
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
  "trailer",
  "upgrade",
  "te",
  "sec-websocket-key",
  "sec-websocket-version",
  "sec-websocket-extensions",
]);

/**
 * The agent's headers with values in place of placeholders, inside of `Basic` credentials too; the same list when there
 * are none. To be called before the service's own headers are put in: those hold values, not placeholders.
 *
 * @throws {UpstreamFailed} `credential_unusable` for a value that no header may carry, when it is used.
 * @throws {RefusedSubstitution} `placeholder_in_header_name`.
 */
export function substituteHeaders(substitutions: Substitutions, headers: HeaderList): HeaderList {
  const placeholders = substitutions.on("header");
  if (placeholders === undefined) return headers;
  let changed: string[] | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? "";
    const value = headers[i + 1] ?? "";
    if (placeholders.occursIn(name)) {
      throw new RefusedSubstitution(
        400,
        "placeholder_in_header_name",
        "A placeholder stands in the name of a header, where no value can be put",
      );
    }
    if (neverLookedAt.has(name.toLowerCase())) continue;
    const replaced = substituteBasic(placeholders, value) ?? placeholders.replaceIn(value, encodeHeader);
    if (replaced === value) continue;
    changed ??= [...headers];
    changed[i + 1] = replaced;
  }
  return changed ?? headers;
}

/** `Basic` credentials (RFC 7617) with values in them; undefined when there is nothing inside to replace. */
function substituteBasic(placeholders: PlaceholderSet, value: string): string | undefined {
  const [, scheme, encoded] = /^(Basic +)([A-Za-z0-9+/]+=*)$/i.exec(value) ?? [];
  if (scheme === undefined || encoded === undefined) return undefined;
  const pair = Buffer.from(encoded, "base64").toString("latin1");
  if (!placeholders.occursIn(pair)) return undefined;
  const colon = pair.indexOf(":");
  const user = colon === -1 ? pair : pair.slice(0, colon);
  const password = colon === -1 ? "" : pair.slice(colon);
  const newUser = placeholders.replaceIn(user, (secret, key) => {
    // The first colon ends the user: what is behind it would become a part of the password.
    if (secret.includes(":")) throw valueUnusable(key, "holds a colon, which a user name in Basic credentials cannot");
    return encodeHeader(secret, key);
  });
  const joined = newUser + placeholders.replaceIn(password, encodeHeader);
  return scheme + Buffer.from(joined, "latin1").toString("base64");
}
