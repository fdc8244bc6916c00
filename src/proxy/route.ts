import type { InjectedHeader } from "../domain/vaults/snapshot.ts";
import { bracketed } from "../net/address.ts";
import { noRules, RequestRules } from "./headers.ts";
import type { Plan } from "./plan.ts";
import { type Origin, originKey } from "./pool.ts";

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
  #rules:
    | { readonly plan: Plan; readonly injected: readonly InjectedHeader[]; readonly rules: RequestRules }
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
   * The rules for what a plan injects and removes. Kept while both stay the same, at most until the headers are
   * rendered anew.
   *
   * @throws {UnwritableHead}
   */
  rulesFor(plan: Plan, injected: readonly InjectedHeader[]): RequestRules {
    if (plan.service === undefined) return noRules;
    const known = this.#rules;
    if (known !== undefined && known.plan === plan && known.injected === injected) return known.rules;
    const rules = new RequestRules(injected, plan.stripped);
    this.#rules = { plan, injected, rules };
    return rules;
  }
}
