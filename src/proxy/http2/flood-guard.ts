import { enhanceYourCalm } from "./http2-error.ts";

/** What costs the sender a few bytes and brings nothing forward. */
type FloodKind = "control" | "reset";

/** So many at once, and so many a second. */
const limits: Readonly<Record<FloodKind, { readonly burst: number; readonly perSecond: number }>> = {
  /** PING, SETTINGS, PRIORITY, DATA without data, frames of unknown types, frames of streams that are over. */
  control: { burst: 1000, perSecond: 100 },
  /** Streams that were opened and taken back, or opened only to be refused (CVE-2023-44487 and its relatives). */
  reset: { burst: 200, perSecond: 50 },
};

/** WINDOW_UPDATEs that may come before anything was sent, and for each frame of data that was. */
const windowUpdates = { burst: 1000, perFrame: 4, most: 100_000 };

/** Counts the frames of one peer that only keep us busy, and ends the connection of one that floods. */
export class FloodGuard {
  readonly #left = { control: limits.control.burst, reset: limits.reset.burst };
  readonly #at = { control: 0, reset: 0 };
  #windowUpdates = windowUpdates.burst;

  /** @throws {Http2ConnectionError} ENHANCE_YOUR_CALM when it was one too many. */
  spend(kind: FloodKind, what: string): void {
    const { burst, perSecond } = limits[kind];
    const now = performance.now();
    const refilled = ((now - this.#at[kind]) / 1000) * perSecond;
    this.#left[kind] = Math.min(burst, this.#left[kind] + refilled) - 1;
    this.#at[kind] = now;
    if (this.#left[kind] < 0) throw enhanceYourCalm(`Too many ${what}`);
  }

  /** @throws {Http2ConnectionError} ENHANCE_YOUR_CALM. */
  spendWindowUpdate(): void {
    this.#windowUpdates -= 1;
    if (this.#windowUpdates < 0) throw enhanceYourCalm("Too many WINDOW_UPDATE frames");
  }

  /** A frame of data was sent, which the peer may acknowledge. */
  onDataSent(): void {
    this.#windowUpdates = Math.min(windowUpdates.most, this.#windowUpdates + windowUpdates.perFrame);
  }
}
