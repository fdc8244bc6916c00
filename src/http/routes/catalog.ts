/** What is the same for everybody: service templates and the instructions for agents (spec of the API, section 4). */
import type { CatalogTemplate } from "../../domain/services/catalog.ts";
import { json, text } from "../answer.ts";
import type { ApiRouter } from "../router.ts";

export interface CatalogDependencies {
  readonly catalog: readonly CatalogTemplate[];
  /** Markdown; undefined when this build has none. */
  readonly skill: string | undefined;
}

const open = { access: "public", tier: "global" } as const;

export function registerCatalogRoutes(router: ApiRouter, { catalog, skill }: CatalogDependencies): void {
  router.on("GET", "/v1/service-catalog", open, () => json({ services: catalog }));

  router.on("GET", "/v1/skills/cli", open, () => {
    if (skill === undefined) return text("This build has no agent instructions", { status: 404 });
    // Byte for byte the file that `run` installs, so no line is added.
    return new Response(skill, { headers: { "content-type": "text/markdown; charset=utf-8" } });
  });
}
