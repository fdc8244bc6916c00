import type { Limits } from "../domain/limits/tiers.ts";

/**
 * A place among the requests under way (spec of accounts, section 4: GLOBAL.concurrency). A request that waits for
 * somebody's decision gives it up for the time, or a few hundred of them would shut the API.
 */
export class Place {
  readonly #limits: Limits;
  #leave: () => void;

  private constructor(limits: Limits, leave: () => void) {
    this.#limits = limits;
    this.#leave = leave;
  }

  static async take(limits: Limits): Promise<Place> {
    return new Place(limits, await limits.enterGlobal());
  }

  /** @throws {RateLimited} when no place is free again after `wait`. */
  async aside<T>(wait: () => Promise<T>): Promise<T> {
    this.leave();
    const result = await wait();
    this.#leave = await this.#limits.enterGlobal();
    return result;
  }

  /** May be called more than once. */
  leave(): void {
    const leave = this.#leave;
    this.#leave = () => undefined;
    leave();
  }
}
