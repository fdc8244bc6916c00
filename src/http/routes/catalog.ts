/** What is the same for everybody: service templates and the instructions for agents (spec of the API, section 4). */
import type { CatalogTemplate } from "../../domain/services/catalog.ts";
import { json, text } from "../answer.ts";
import { showCatalog, showSkill } from "../contracts/services.ts";
import type { ApiRouter } from "../router.ts";

export interface CatalogDependencies {
  readonly catalog: readonly CatalogTemplate[];
  /** Markdown; undefined when this build has none. */
  readonly skill: string | undefined;
}

export function registerCatalogRoutes(router: ApiRouter, { catalog, skill }: CatalogDependencies): void {
  router.on(showCatalog, () => json({ services: catalog }));

  router.on(showSkill, () => {
    if (skill === undefined) return text("This build has no agent instructions", { status: 404 });
    // Byte for byte the file that `run` installs, so no line is added.
    return new Response(skill, { headers: { "content-type": "text/markdown; charset=utf-8" } });
  });
}
