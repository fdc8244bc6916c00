import type { ScrubMode } from "../domain/services/service.ts";
import type { Injection } from "../domain/vaults/snapshot.ts";
import { bracketed } from "../net/address.ts";
import type { Plan } from "./plan.ts";
import { type Origin, originKey } from "./pool.ts";
import { type Treatment, treatmentOf, untouched } from "./treatment.ts";

export interface RouteOrigin {
  readonly origin: Origin;
  /** Of the pool. */
  readonly key: string;
}

/** Where the requests of one tunnel go, or one absolute-form request: worked out once, used for each of them. */
export class Route {
  readonly scheme: "https" | "http";
  readonly host: string;
  readonly port: number;
  /** `host:port`, as the journal has it. */
  readonly authority: string;
  /** The value of `Host`: without the port where it is the scheme's own. */
  readonly hostHeader: string;
  #origin: RouteOrigin | undefined;
  #treated:
    | {
        readonly plan: Plan;
        readonly injection: Injection;
        readonly scrubMode: ScrubMode;
        readonly treatment: Treatment;
      }
    | undefined;

  constructor(scheme: "https" | "http", host: string, port: number) {
    this.scheme = scheme;
    this.host = host;
    this.port = port;
    this.authority = `${bracketed(host)}:${port}`;
    this.hostHeader = port === (scheme === "https" ? 443 : 80) ? bracketed(host) : this.authority;
  }

  originFor(vaultId: string): RouteOrigin {
    if (this.#origin?.origin.vaultId === vaultId) return this.#origin;
    const origin: Origin = { vaultId, scheme: this.scheme, host: this.host, port: this.port };
    this.#origin = { origin, key: originKey(origin) };
    return this.#origin;
  }

  /**
   * What a plan does to a request and its answer. Kept while the plan and what it injects stay the same, at most until
   * that is rendered anew.
   *
   * @throws {UnwritableHead}
   */
  treatmentFor(plan: Plan, injection: Injection, scrubMode: ScrubMode): Treatment {
    if (plan.service === undefined) return untouched;
    const known = this.#treated;
    if (known?.plan === plan && known.injection === injection && known.scrubMode === scrubMode) return known.treatment;
    const treatment = treatmentOf(plan, injection, scrubMode);
    this.#treated = { plan, injection, scrubMode, treatment };
    return treatment;
  }
}
