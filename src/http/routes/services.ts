/** Services of a vault (spec of the API, section 3). */
import type { Access } from "../../domain/actors/access.ts";
import { formatService } from "../../domain/services/definition.ts";
import { formatPattern } from "../../domain/services/pattern.ts";
import type { Service } from "../../domain/services/service.ts";
import { type Services, tagOfWire } from "../../domain/services/services.ts";
import { InvalidInput } from "../../errors.ts";
import { json } from "../answer.ts";
import {
  clearServices,
  listServices,
  removeService,
  replaceServices,
  showCredentialUsage,
  switchService,
  upsertServices,
} from "../contracts/services.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface ServiceDependencies {
  readonly access: Access;
  readonly services: Services;
}

export function registerServiceRoutes(router: ApiRouter, dependencies: ServiceDependencies): void {
  registerServiceReads(router, dependencies);
  registerListWrites(router, dependencies);
  registerSingleWrites(router, dependencies);
}

function registerServiceReads(router: ApiRouter, { access, services }: ServiceDependencies): void {
  router.on(listServices, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "access");
    const wanted = parsePage(request);
    const page = await services.page(vault.id, wanted);
    const list = page.items.map(formatService);
    const body = { vault: vault.name, services: list, ...nextCursor(wanted, page) };
    // A part of the list says nothing about the whole, which is what `If-Match` is about.
    return json(body, wanted === undefined ? { headers: { etag: `"${tagOfWire(list)}"` } } : {});
  });

  router.on(showCredentialUsage, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "access");
    const key = request.query("key");
    if (!key) throw new InvalidInput("key_required", "Missing required query parameter: key");
    const wanted = parsePage(request);
    const page = await services.referencing(vault.id, key, wanted);
    return json({ services: page.items.map(nameAndHost), ...nextCursor(wanted, page) });
  });
}

function registerListWrites(router: ApiRouter, { access, services }: ServiceDependencies): void {
  router.on(upsertServices, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const { services: entries } = await request.body();
    if (entries === undefined || entries.length === 0) {
      throw new InvalidInput("services_required", "At least one service is required");
    }
    const { names, count } = await services.upsert(request.principal, vault.id, entries);
    return json({ vault: vault.name, upserted: names, services_count: count });
  });

  router.on(replaceServices, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const { services: entries } = await request.body();
    if (entries === undefined) {
      throw new InvalidInput(
        "services_required",
        'Invalid services: "services" is missing; send [] to remove them all',
      );
    }
    const count = await services.replace(request.principal, vault.id, entries, expectedTags(request));
    return json({ vault: vault.name, services_count: count });
  });

  router.on(clearServices, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    await services.clear(request.principal, vault.id);
    return json({ vault: vault.name, cleared: true });
  });
}

function registerSingleWrites(router: ApiRouter, { access, services }: ServiceDependencies): void {
  router.on(switchService, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const { enabled: isEnabled } = await request.body();
    if (isEnabled === undefined) {
      throw new InvalidInput("nothing_to_change", "At least one patchable field is required (enabled)");
    }
    const service = await services.setEnabled(request.principal, vault.id, request.params.ref, { isEnabled });
    return json({ vault: vault.name, ...nameAndHost(service), enabled: isEnabled });
  });

  router.on(removeService, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const { removed, count } = await services.remove(request.principal, vault.id, request.params.ref);
    return json({
      vault: vault.name,
      removed: removed.name,
      removed_host: formatPattern(removed.pattern),
      services_count: count,
    });
  });
}

/** The tags of `If-Match` (RFC 9110, section 13.1.1); undefined when any state will do. A weak tag never matches. */
function expectedTags(request: ApiRequest): readonly string[] | undefined {
  const header = request.headers.get("if-match")?.trim();
  if (!header || header === "*") return undefined;
  return header.split(",").map((tag) => /^\s*"([^"]*)"\s*$/.exec(tag)?.[1] ?? "");
}

function nameAndHost(service: Service): { readonly name: string; readonly host: string } {
  return { name: service.name, host: formatPattern(service.pattern) };
}

function nameOf(request: ApiRequest<unknown, never, "name">): string {
  return request.params.name;
}
