/** Contracts of the root certificates and their rotation. */
import { body, number } from "../openapi/body.ts";
import { answer, authed } from "../openapi/contract.ts";
import { listOf, maybe, real, shape, text, time } from "../openapi/schema.ts";

const owner = { area: "Instance", who: "owner" } as const;
const roots = shape({
  roots: listOf(
    shape({ state: text(), fingerprint_sha256: text(), expires_at: time(), created_at: time(), due_at: maybe(time()) }),
  ),
});

export const showAuthority = authed({
  ...owner,
  method: "GET",
  path: "/v1/admin/ca",
  operation: "showAuthority",
  does: "Show the root certificates and how far their rotation is",
  answers: { 200: answer(roots) },
});
export const startRotation = authed({
  ...owner,
  method: "POST",
  path: "/v1/admin/ca/rotation",
  operation: "startRotation",
  does: "Begin to replace the root certificate",
  body: body(
    { overlap_seconds: number(real("How long both are trusted before the new one signs")) },
    { isOptional: false },
  ),
  answers: { 201: answer(roots, "Begun") },
  errors: ["bad_overlap", "no_authority", "rotation_under_way"],
});
export const activateRotation = authed({
  ...owner,
  method: "POST",
  path: "/v1/admin/ca/rotation/activate",
  operation: "activateRotation",
  does: "Let the new root certificate sign now",
  answers: { 200: answer(roots) },
  errors: ["no_rotation"],
});
export const finishRotation = authed({
  ...owner,
  method: "POST",
  path: "/v1/admin/ca/rotation/finish",
  operation: "finishRotation",
  does: "Forget the old root certificate",
  answers: { 200: answer(roots) },
  errors: ["no_rotation"],
});
export const cancelRotation = authed({
  ...owner,
  method: "DELETE",
  path: "/v1/admin/ca/rotation",
  operation: "cancelRotation",
  does: "Take a rotation back",
  answers: { 200: answer(roots) },
  errors: ["no_rotation"],
});
