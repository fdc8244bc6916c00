/** The root certificates and their rotation, for owners. */
import type { Access } from "../../domain/actors/access.ts";
import type { AuthorityRotation } from "../../domain/authority-rotation.ts";
import { json, wireTime } from "../answer.ts";
import { Fields } from "../fields.ts";
import type { ApiRouter } from "../router.ts";

export interface AuthorityDependencies {
  readonly access: Access;
  readonly authorityRotation: AuthorityRotation;
}

const authed = { access: "session", tier: "authed" } as const;

export function registerAuthorityRoutes(router: ApiRouter, dependencies: AuthorityDependencies): void {
  const { access, authorityRotation: rotation } = dependencies;

  router.on("GET", "/v1/admin/ca", authed, async ({ principal }) => {
    access.owner(principal);
    return json(await describe(rotation));
  });

  router.on("POST", "/v1/admin/ca/rotation", { ...authed, body: true }, async (request) => {
    const owner = access.owner(request.principal);
    const overlap = new Fields(await request.json()).number("overlap_seconds");
    await rotation.start(owner, overlap);
    return json(await describe(rotation), { status: 201 });
  });

  router.on("POST", "/v1/admin/ca/rotation/activate", authed, async ({ principal }) => {
    await rotation.activate(access.owner(principal));
    return json(await describe(rotation));
  });

  router.on("POST", "/v1/admin/ca/rotation/finish", authed, async ({ principal }) => {
    await rotation.finish(access.owner(principal));
    return json(await describe(rotation));
  });

  router.on("DELETE", "/v1/admin/ca/rotation", authed, async ({ principal }) => {
    await rotation.cancel(access.owner(principal));
    return json(await describe(rotation));
  });
}

async function describe(rotation: AuthorityRotation): Promise<object> {
  const roots = await rotation.list();
  return {
    roots: roots.map(({ state, fingerprint, expiresAt, createdAt, dueAt }) => ({
      state,
      fingerprint_sha256: fingerprint,
      expires_at: wireTime(expiresAt),
      created_at: wireTime(createdAt),
      ...(dueAt !== undefined && { due_at: wireTime(dueAt) }),
    })),
  };
}
