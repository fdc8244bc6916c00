import type { RouteContract } from "../../src/http/openapi/contract.ts";

/** A contract of which only what the test is about matters. */
export function plainRoute<const P extends string, B = undefined>(
  method: RouteContract["method"],
  path: P,
  contract: Pick<RouteContract<P, B, never>, "access" | "tier" | "initGate" | "checksOrigin" | "body">,
): RouteContract<P, B, never> {
  const said = { operation: `${method} ${path}`, area: "Instance", does: "Something", who: "anybody" } as const;
  return { ...said, method, path, ...contract, answers: { 200: { description: "Done" } } };
}
