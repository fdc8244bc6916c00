import type { ScrubMode } from "../domain/services/service.ts";
import type { Injection } from "../domain/vaults/snapshot.ts";
import { noRules, RequestRules } from "./headers.ts";
import type { Plan } from "./plan.ts";
import { type ScrubPlan, scrubPlanFor } from "./scrub/answer.ts";
import { injectedValues } from "./scrub/injected.ts";
import { Substitutions } from "./substitute/substitutions.ts";

/** What a service does to the bytes of requests and answers, compiled from its credentials: as short-lived as they are. */
export interface Treatment {
  readonly rules: RequestRules;
  /** Undefined for most services: then nothing that the agent sent is looked into. */
  readonly substitutions: Substitutions | undefined;
  /** Undefined when answers pass as they are. */
  readonly scrub: ScrubPlan | undefined;
}

/** Where no service matches and the vault lets such requests pass. */
export const untouched: Treatment = { rules: noRules, substitutions: undefined, scrub: undefined };

/**
 * @param vaultScrubMode for services that do not say it themselves.
 * @throws {UnwritableHead} when a header would change the structure of the head.
 */
export function treatmentOf(plan: Plan, injection: Injection, vaultScrubMode: ScrubMode): Treatment {
  const { service } = plan;
  if (service === undefined) return untouched;
  const { headers, values } = injection;
  const scrub = scrubPlanFor(service.scrub ?? vaultScrubMode, injectedValues(service, values));
  return {
    rules: new RequestRules(headers, plan.stripped, { narrowsCodings: scrub !== undefined && scrub.mode !== "detect" }),
    substitutions: Substitutions.of(service, values),
    scrub,
  };
}
