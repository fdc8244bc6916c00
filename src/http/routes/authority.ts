/** The root certificates and their rotation, for owners. */
import type { Access } from "../../domain/actors/access.ts";
import type { AuthorityRotation } from "../../domain/authority-rotation.ts";
import { json, wireTime } from "../answer.ts";
import {
  activateRotation,
  cancelRotation,
  finishRotation,
  showAuthority,
  startRotation,
} from "../contracts/authority.ts";
import type { ApiRouter } from "../router.ts";

export interface AuthorityDependencies {
  readonly access: Access;
  readonly authorityRotation: AuthorityRotation;
}

export function registerAuthorityRoutes(router: ApiRouter, dependencies: AuthorityDependencies): void {
  const { access, authorityRotation: rotation } = dependencies;

  router.on(showAuthority, async ({ principal }) => {
    access.owner(principal);
    return json(await describe(rotation));
  });

  router.on(startRotation, async (request) => {
    const owner = access.owner(request.principal);
    const { overlap_seconds: overlap } = await request.body();
    await rotation.start(owner, overlap);
    return json(await describe(rotation), { status: 201 });
  });

  router.on(activateRotation, async ({ principal }) => {
    await rotation.activate(access.owner(principal));
    return json(await describe(rotation));
  });

  router.on(finishRotation, async ({ principal }) => {
    await rotation.finish(access.owner(principal));
    return json(await describe(rotation));
  });

  router.on(cancelRotation, async ({ principal }) => {
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
