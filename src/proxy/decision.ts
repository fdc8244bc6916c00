import type { ScopeLease } from "../domain/actors/scope.ts";
import type { Injection, VaultSnapshot } from "../domain/vaults/snapshot.ts";
import { Forbidden } from "../errors.ts";
import { Admission } from "./admission.ts";
import type { ProxyContext } from "./context.ts";
import { Field } from "./http1/field-names.ts";
import type { Inbound } from "./inbound.ts";
import { type Plan, planFor } from "./plan.ts";
import type { RouteOrigin } from "./route.ts";
import { injectedValues } from "./scrub/injected.ts";
import { NeedleSet } from "./scrub/needles.ts";
import { untouched } from "./treatment.ts";

const noInjection: Injection = { headers: [], values: new Map(), isRenewable: false };

export interface DecisionOptions {
  /** Epoch milliseconds. */
  readonly nowMs: number;
  /** It takes the place of a stream from the start. */
  readonly isStream: boolean;
}

/**
 * What one request may do, and with what: for whom it is made, the service that covers it, and what goes out with it.
 * Decided from memory where that is enough, and looked at again while the request is under way.
 */
export class Decision {
  /** Without the query. */
  readonly path: string;
  readonly admission = new Admission();
  lease: ScopeLease | undefined;
  plan: Plan | undefined;
  treatment = untouched;
  origin: RouteOrigin | undefined;
  /** How long it waited for its place. */
  queueMs = 0;
  readonly #context: ProxyContext;
  readonly #inbound: Inbound;
  readonly #nowMs: number;
  readonly #isStream: boolean;
  /** What the plan was decided from, or would be decided from just the same. */
  #snapshot: VaultSnapshot | undefined;
  #injection = noInjection;
  /** Whose injection that is: it knows which of its credentials went out. A snapshot of today has others already. */
  #injectedFrom: VaultSnapshot | undefined;

  constructor(context: ProxyContext, inbound: Inbound, { nowMs, isStream }: DecisionOptions) {
    this.#context = context;
    this.#inbound = inbound;
    this.#nowMs = nowMs;
    this.#isStream = isStream;
    this.lease = inbound.lease;
    this.path = withoutQuery(inbound.target);
  }

  /**
   * Decides from memory, without a promise. False when something has to be looked up, or waited for.
   * @throws {AppError} what refuses the request.
   */
  fromMemory(): boolean {
    const { lease } = this;
    if (!lease?.isCurrent(this.#nowMs) || !this.#enter(lease)) return false;
    const snapshot = this.#context.snapshots.current(lease.scope.vaultId);
    if (!snapshot) return false;
    const { service } = this.#planFrom(snapshot);
    const injection = service ? snapshot.injectionFor(service) : noInjection;
    if (injection instanceof Promise) {
      // It is asked again on the slow path; a failure is reported there.
      injection.catch(() => undefined);
      return false;
    }
    this.#settle(lease, injection);
    return true;
  }

  /**
   * Decides with whatever has to be looked up. Stops half-way when the request is over meanwhile.
   * @throws {AppError} what refuses the request.
   */
  async lookUp(clientIp: string): Promise<void> {
    const { snapshots, authenticator, clock } = this.#context;
    if (!this.lease) {
      const credentials = this.#inbound.head.fields.valueOf(Field.proxyAuthorization);
      this.lease = await authenticator.authenticate(credentials, clientIp);
      this.#inbound.onLease?.(this.lease);
    }
    const { lease, admission } = this;
    if (!lease.isCurrent(clock.now())) await lease.renew();
    if (!this.#enter(lease)) await this.#queue();
    if (admission.isOver) return;
    const { vaultId } = lease.scope;
    const snapshot = snapshots.current(vaultId) ?? (await snapshots.load(vaultId));
    const { service } = this.#planFrom(snapshot);
    this.#settle(lease, service ? await snapshot.injectionFor(service) : noInjection);
  }

  /** Waits for a place. @throws {ProxyLimited} */
  async #queue(): Promise<void> {
    const from = performance.now();
    try {
      await this.admission.wait();
    } finally {
      this.queueMs = performance.now() - from;
    }
  }

  /**
   * Would it be decided in the same way now?
   * @throws {AppError} when it would not.
   */
  recheck(snapshot: VaultSnapshot): void {
    const { plan } = this;
    if (plan === undefined || snapshot === this.#snapshot) return;
    const now = this.#planOf(snapshot);
    // Another service, or none: what let the credential out is not there any more.
    if (plan.service !== undefined && now.service?.name !== plan.service.name) {
      throw new Forbidden("service_removed", `Service "${plan.service.name}" does not cover this any more`);
    }
    this.#snapshot = snapshot;
  }

  /** Is a 401 of the upstream worth asking for another credential? */
  get canRenew(): boolean {
    return this.#injection.isRenewable;
  }

  /**
   * The upstream refused what went out: puts something else in its place. False when there is nothing else.
   * @throws {AppError} when it cannot be found out.
   */
  async renew(): Promise<boolean> {
    const service = this.plan?.service;
    if (service === undefined || this.lease === undefined) return false;
    const injection = await this.#injectedFrom?.renewedInjection(service, this.#injection);
    if (injection === undefined) return false;
    const before = this.#injection;
    this.#settle(this.lease, injection);
    const { scrub } = this.treatment;
    if (scrub !== undefined) {
      // What went out first may well be good elsewhere still, and the upstream knows it.
      const values = [before, injection].flatMap((one) => injectedValues(service, one.values));
      this.treatment = { ...this.treatment, scrub: { mode: scrub.mode, needles: new NeedleSet(values) } };
    }
    return true;
  }

  /** False when there is no place for it yet. @throws {ProxyLimited} */
  #enter(lease: ScopeLease): boolean {
    const nowMs = this.#nowMs;
    return this.admission.enter(this.#context.admissions.budgetOf(lease, nowMs), { nowMs, isStream: this.#isStream });
  }

  #planFrom(snapshot: VaultSnapshot): Plan {
    this.plan = this.#planOf(snapshot);
    this.#snapshot = snapshot;
    return this.plan;
  }

  #planOf(snapshot: VaultSnapshot): Plan {
    const { route, head } = this.#inbound;
    const { scheme, host, port } = route;
    return planFor(snapshot, { scheme, host, port, path: this.path, method: head.method }, head.fields);
  }

  #settle(lease: ScopeLease, injection: Injection): void {
    const { plan } = this;
    const snapshot = this.#snapshot;
    if (plan === undefined || snapshot === undefined) return;
    const { route } = this.#inbound;
    this.#injection = injection;
    this.#injectedFrom ??= snapshot;
    this.treatment = route.treatmentFor(plan, injection, snapshot.scrubMode);
    this.origin = route.originFor(lease.scope.vaultId);
  }
}

function withoutQuery(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}
