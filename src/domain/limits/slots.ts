/** So many at once: a place for each, and a short wait for whoever finds none. Of this process alone. */

export interface SlotSettings {
  readonly concurrency: number;
  /** How long to wait for a slot before giving up. */
  readonly waitMs: number;
}

interface SlotState {
  taken: number;
  readonly waiting: Set<() => void>;
}

/** A counting semaphore per key. */
export class Slots {
  readonly #states = new Map<string, SlotState>();
  settings: SlotSettings;

  constructor(settings: SlotSettings) {
    this.settings = settings;
  }

  /** A slot, to be given back by calling it once; undefined when none came free in time. */
  async enter(key: string): Promise<(() => void) | undefined> {
    const state = this.#states.get(key) ?? { taken: 0, waiting: new Set() };
    this.#states.set(key, state);
    if (state.taken < this.settings.concurrency) {
      state.taken++;
      return this.#release(key, state);
    }
    const isWoken = await new Promise<boolean>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        state.waiting.delete(wake);
        resolve(false);
      }, this.settings.waitMs);
      state.waiting.add(wake);
    });
    return isWoken ? this.#release(key, state) : undefined;
  }

  #release(key: string, state: SlotState): () => void {
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      const next = state.waiting.values().next().value;
      if (next !== undefined) {
        // The slot passes on; it is never free in between.
        state.waiting.delete(next);
        next();
        return;
      }
      state.taken--;
      if (state.taken === 0) this.#states.delete(key);
    };
  }
}
