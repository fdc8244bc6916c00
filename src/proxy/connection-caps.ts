import { RateLimited, Unavailable } from "../errors.ts";
import { limitKeyOf } from "../net/address.ts";
import { isOnThisMachine } from "./peer.ts";

/** How many connections there may be; 0 is unlimited. */
export interface ConnectionLimits {
  /** In all. */
  readonly max: number;
  /** From one client address, or one /64 of IPv6. Loopback is exempt: containers come from there through a relay. */
  readonly maxPerAddress: number;
  /** That one token was shown on, tunnels and others; where `max` is set, never more than half of it. */
  readonly maxPerToken: number;
}

/**
 * Counts what is open, and says when that is enough.
 *
 * A connection costs nobody anything until it shows a token, so those without one have no right to stay: there are at
 * most half as many of them as there may be connections, and the oldest makes room for the next. Whoever has a token
 * needs to be there for the moment of a CONNECT only, and is served through any flood of strangers.
 */
export class ConnectionCaps {
  readonly #max: number;
  readonly #maxUnproven: number;
  readonly #maxPerAddress: number;
  readonly #maxPerToken: number;
  readonly #byAddress = new Map<string, number>();
  readonly #byToken = new Map<string, number>();
  /** The oldest first. */
  readonly #unproven = new Set<Place>();
  #total = 0;
  /** Connections and tunnels refused since the start, and connections that made room. */
  denials = 0;

  constructor({ max, maxPerAddress, maxPerToken }: ConnectionLimits) {
    const half = max > 0 ? Math.max(1, Math.floor(max / 2)) : Number.POSITIVE_INFINITY;
    this.#max = max > 0 ? max : Number.POSITIVE_INFINITY;
    this.#maxUnproven = half;
    this.#maxPerAddress = maxPerAddress > 0 ? maxPerAddress : Number.POSITIVE_INFINITY;
    this.#maxPerToken = Math.min(half, maxPerToken > 0 ? maxPerToken : Number.POSITIVE_INFINITY);
  }

  /** Connections open now. */
  get total(): number {
    return this.#total;
  }

  /**
   * Counts a connection.
   *
   * @param cut ends it at once, when it has shown no token and has to make room.
   * @throws {Unavailable | RateLimited} and does not count it.
   */
  enter(clientIp: string, cut: () => void): Place {
    const key = keyOf(clientIp);
    const open = key === undefined ? 0 : (this.#byAddress.get(key) ?? 0);
    if (open >= this.#maxPerAddress) {
      this.denials++;
      throw new RateLimited("too_many_connections", "Too many connections are open from this address", {
        retryAfterSeconds: 1,
        details: { limit: this.#maxPerAddress },
      });
    }
    this.#makeRoom();
    if (key !== undefined) this.#byAddress.set(key, open + 1);
    this.#total++;
    const place = new Place(cut, {
      prove: (sessionId) => this.#countToken(sessionId, place),
      leave: (sessionId) => {
        this.#total--;
        this.#unproven.delete(place);
        if (key !== undefined) lower(this.#byAddress, key);
        if (sessionId !== undefined) lower(this.#byToken, sessionId);
      },
    });
    this.#unproven.add(place);
    return place;
  }

  /** @throws {Unavailable} when nobody can be asked to go. */
  #makeRoom(): void {
    if (this.#total < this.#max && this.#unproven.size < this.#maxUnproven) return;
    this.denials++;
    const [oldest] = this.#unproven;
    if (oldest === undefined) {
      throw new Unavailable("too_many_connections", "The proxy has as many connections as it may", {
        retryAfterSeconds: 1,
      });
    }
    oldest.cut();
  }

  #countToken(sessionId: string, place: Place): void {
    const open = this.#byToken.get(sessionId) ?? 0;
    if (open >= this.#maxPerToken) {
      this.denials++;
      throw new RateLimited("too_many_tunnels", "This token has too many tunnels open; use them again, or close some", {
        retryAfterSeconds: 1,
        details: { limit: this.#maxPerToken },
      });
    }
    this.#byToken.set(sessionId, open + 1);
    if (place.sessionId !== undefined) lower(this.#byToken, place.sessionId);
    this.#unproven.delete(place);
  }
}

interface Counts {
  prove(sessionId: string): void;
  leave(sessionId: string | undefined): void;
}

/** The place of one connection. */
export class Place {
  /** Of the token that was shown last. */
  sessionId: string | undefined;
  readonly #cut: () => void;
  readonly #counts: Counts;
  #isLeft = false;

  constructor(cut: () => void, counts: Counts) {
    this.#cut = cut;
    this.#counts = counts;
  }

  /** A token that is good was shown on this connection. @throws {RateLimited} and leaves everything as it was. */
  prove(sessionId: string): void {
    if (this.sessionId === sessionId || this.#isLeft) return;
    this.#counts.prove(sessionId);
    this.sessionId = sessionId;
  }

  /** The connection is closed. Twice is fine. */
  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#counts.leave(this.sessionId);
  }

  /** Makes room: it is not counted from here on, whenever its socket gets round to closing. */
  cut(): void {
    this.leave();
    this.#cut();
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
