import type { ScopeLease } from "../domain/actors/scope.ts";
import type { ProxyBudget, ProxyBudgets } from "../domain/limits/proxy-budget.ts";

/** Hands out the budget that a lease draws on, found once per lease. */
export class Admissions {
  readonly #budgets: ProxyBudgets;
  readonly #known = new WeakMap<ScopeLease, ProxyBudget>();

  constructor(budgets: ProxyBudgets) {
    this.#budgets = budgets;
  }

  budgetOf(lease: ScopeLease, nowMs: number): ProxyBudget {
    const known = this.#known.get(lease);
    if (known !== undefined && !known.isForgotten) return known;
    // A lease that is renewed stays with its token, actor and vault.
    const budget = this.#budgets.budgetFor(lease.scope, nowMs);
    this.#known.set(lease, budget);
    return budget;
  }
}

/** The place of one exchange within the limits of its token (spec of the proxy, section 9.2). */
export class Admission {
  #budget: ProxyBudget | undefined;
  #state: "outside" | "counted" | "request" | "stream" | "over" = "outside";
  #waiting: AbortController | undefined;

  /**
   * Enters at once; the second time it does nothing. False when every place is taken: `wait` for one.
   * @throws {ProxyLimited}
   */
  enter(budget: ProxyBudget, options: { readonly nowMs: number; readonly isStream: boolean }): boolean {
    if (this.#state !== "outside") return this.#state !== "counted";
    budget.count(options.nowMs);
    this.#budget = budget;
    if (options.isStream) {
      budget.takeStream();
      this.#state = "stream";
      return true;
    }
    if (!budget.hasRoom) {
      this.#state = "counted";
      return false;
    }
    budget.take();
    this.#state = "request";
    return true;
  }

  /** After `enter` was false. When the exchange ends meanwhile this resolves, and nothing is taken. @throws {ProxyLimited} */
  async wait(): Promise<void> {
    const budget = this.#budget;
    if (budget === undefined || this.#state !== "counted") return;
    this.#waiting = new AbortController();
    const isTaken = await budget.wait(this.#waiting.signal);
    // `leave` may have come since, even in between being let in and hearing of it.
    if (this.isOver) {
      if (isTaken) budget.leave();
    } else if (isTaken) this.#state = "request";
  }

  /** The answer is an event stream, which may last for hours. */
  becomeStream(): void {
    if (this.#state === "request" && this.#budget?.becomeStream()) this.#state = "stream";
  }

  get isStream(): boolean {
    return this.#state === "stream";
  }

  /** The exchange has ended. */
  get isOver(): boolean {
    return this.#state === "over";
  }

  /** The exchange has ended, however it did. */
  leave(): void {
    const state = this.#state;
    this.#state = "over";
    this.#waiting?.abort();
    if (state === "request") this.#budget?.leave();
    else if (state === "stream") this.#budget?.leaveStream();
  }
}
