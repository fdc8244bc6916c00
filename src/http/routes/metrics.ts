/** `GET /metrics`, for Prometheus: with the token that the operator configured, or with an owner's login. */
import { timingSafeEqual } from "node:crypto";
import { tokenDigest } from "../../crypto/token.ts";
import type { Access } from "../../domain/actors/access.ts";
import { type Limits, tooManyRequests } from "../../domain/limits/tiers.ts";
import { Unauthenticated } from "../../errors.ts";
import { limitKeyOf } from "../../net/address.ts";
import { type Metrics, metricsContentType } from "../../runtime/metrics.ts";
import { showMetrics } from "../contracts/instance.ts";
import type { ApiRouter } from "../router.ts";

export interface MetricsDependencies {
  readonly access: Access;
  readonly limits: Limits;
  readonly metrics: Metrics;
  /** AGENT_VAULT_METRICS_TOKEN; undefined leaves the way with a login. */
  readonly metricsToken: string | undefined;
}

export function registerMetricsRoute(router: ApiRouter, dependencies: MetricsDependencies): void {
  const { access, limits, metrics, metricsToken } = dependencies;

  // Public to the router, because the configured token is no session; nothing is told to strangers.
  router.on(showMetrics, async (request) => {
    if (metricsToken === undefined || !isSame(request.token, metricsToken)) {
      const key = `metrics:${limitKeyOf(request.clientIp)}`;
      const verdict = await limits.peekAuth(key);
      if (!verdict.isAllowed) throw tooManyRequests(verdict);
      const principal = await request.findPrincipal();
      if (principal === undefined) {
        // A token that a person made up can be guessed; one that is not presented is no guess.
        if (request.token !== undefined) await limits.recordAuth(key);
        throw new Unauthenticated("authorization_required", "Metrics are for an owner, or for the metrics token", {
          hint: "set AGENT_VAULT_METRICS_TOKEN on the server, and send it as a Bearer token",
        });
      }
      access.owner(principal);
    }
    return new Response(metrics.render(), {
      headers: { "content-type": metricsContentType, "cache-control": "no-store" },
    });
  });
}

/** In a time that says nothing about how much of it was right. */
function isSame(presented: string | undefined, expected: string): boolean {
  if (presented === undefined) return false;
  return timingSafeEqual(Buffer.from(tokenDigest(presented)), Buffer.from(tokenDigest(expected)));
}
