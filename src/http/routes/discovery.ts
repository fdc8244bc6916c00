/** What an agent may use, and what agents looked for in vain (spec of the API, sections 8 and 9). */
import type { Access } from "../../domain/actors/access.ts";
import type { Credentials } from "../../domain/credentials/credential.ts";
import type { DiscoveredHost, Discovery } from "../../domain/discovery.ts";
import { type CatalogTemplate, TemplateFinder } from "../../domain/services/catalog.ts";
import { formatPattern } from "../../domain/services/pattern.ts";
import type { Services } from "../../domain/services/services.ts";
import { json, wireTime } from "../answer.ts";
import { discover, listDiscoveredHosts } from "../contracts/logs.ts";
import { formatCursor, parseCursor } from "../page.ts";
import type { ApiRouter } from "../router.ts";

export interface DiscoveryDependencies {
  readonly access: Access;
  readonly services: Services;
  readonly credentials: Credentials;
  readonly discovery: Discovery;
  readonly catalog: readonly CatalogTemplate[];
}

const defaultHosts = 5;
const maxHosts = 100;

export function registerDiscoveryRoutes(
  router: ApiRouter,
  { access, services, credentials, discovery, catalog }: DiscoveryDependencies,
): void {
  const templates = new TemplateFinder(catalog);

  router.on(discover, async ({ principal, headers }) => {
    const { vault } = await access.sessionVault(principal, headers.get("x-vault"));
    const list = await services.list(vault.id);
    return json({
      vault: vault.name,
      services: list.map(({ name, pattern }) => ({ name, host: formatPattern(pattern) })),
      available_credentials: (await credentials.list(vault.id)).map(({ key }) => key),
    });
  });

  router.on(listDiscoveredHosts, async (request) => {
    const { vault } = await access.vault(request.principal, request.params.name, "member");
    const cursor = request.query("cursor");
    const after = cursor ? parseCursor(cursor) : undefined;
    const { hosts, total, next } = await discovery.hosts(vault.id, parseLimit(request.query("limit")), after);
    // `limit` alone is what existing clients send; an empty cursor asks for the first page.
    const cursors = cursor === undefined ? {} : { next_cursor: next === undefined ? null : formatCursor(next) };
    return json({ hosts: hosts.map((seen) => formatHost(seen, templates.idsFor(seen.host))), total, ...cursors });
  });
}

/** 0 counts only; whatever is no count is as if nothing was said. */
function parseLimit(text: string | undefined): number {
  if (text === undefined || !/^\d{1,9}$/.test(text)) return defaultHosts;
  return Math.min(Number(text), maxHosts);
}

function formatHost(
  { host, requestCount, lastSeen, authScheme, authHeader }: DiscoveredHost,
  templates: readonly string[],
): object {
  return {
    host,
    request_count: Number(requestCount),
    last_seen: wireTime(lastSeen),
    ...(authScheme !== "" && { auth_scheme: authScheme }),
    ...(authHeader !== "" && { auth_header: authHeader }),
    ...(templates.length > 0 && { templates }),
  };
}
