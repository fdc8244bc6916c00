import { RateLimited, Unavailable } from "../errors.ts";
import { limitKeyOf } from "../net/address.ts";
import { isOnThisMachine } from "./peer.ts";

/** How many connections there may be; 0 is unlimited. */
export interface ConnectionLimits {
  /** In all. */
  readonly max: number;
  /** From one client address, or one /64 of IPv6. Loopback is exempt: containers come from there through a relay. */
  readonly maxPerAddress: number;
  readonly maxTunnelsPerToken: number;
}

/** Counts what is open, and says when that is enough. */
export class ConnectionCaps {
  readonly #limits: ConnectionLimits;
  readonly #byAddress = new Map<string, number>();
  readonly #byToken = new Map<string, number>();
  #total = 0;
  /** Connections and tunnels refused since the start. */
  denials = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** Connections open now. */
  get total(): number {
    return this.#total;
  }

  /** Counts a connection; `leave` ends that. @throws {Unavailable | RateLimited} and does not count it. */
  enter(clientIp: string): void {
    const { max, maxPerAddress } = this.#limits;
    if (max > 0 && this.#total >= max) {
      this.denials++;
      throw new Unavailable("too_many_connections", "The proxy has as many connections as it may", {
        retryAfterSeconds: 1,
      });
    }
    const key = keyOf(clientIp);
    if (key !== undefined) {
      const open = this.#byAddress.get(key) ?? 0;
      if (maxPerAddress > 0 && open >= maxPerAddress) {
        this.denials++;
        throw new RateLimited("too_many_connections", "Too many connections are open from this address", {
          retryAfterSeconds: 1,
          details: { limit: maxPerAddress },
        });
      }
      this.#byAddress.set(key, open + 1);
    }
    this.#total++;
  }

  leave(clientIp: string): void {
    this.#total--;
    const key = keyOf(clientIp);
    if (key !== undefined) lower(this.#byAddress, key);
  }

  /** Counts a tunnel; `closeTunnel` ends that. @throws {RateLimited} and does not count it. */
  openTunnel(sessionId: string): void {
    const { maxTunnelsPerToken: max } = this.#limits;
    const open = this.#byToken.get(sessionId) ?? 0;
    if (max > 0 && open >= max) {
      this.denials++;
      throw new RateLimited("too_many_tunnels", "This token has too many tunnels open; use them again, or close some", {
        retryAfterSeconds: 1,
        details: { limit: max },
      });
    }
    this.#byToken.set(sessionId, open + 1);
  }

  closeTunnel(sessionId: string): void {
    lower(this.#byToken, sessionId);
  }
}

function keyOf(clientIp: string): string | undefined {
  return isOnThisMachine(clientIp) ? undefined : limitKeyOf(clientIp);
}

function lower(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 0) - 1;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
