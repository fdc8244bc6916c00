import { connect, type Socket } from "node:net";

/** One TCP connection to whichever of several addresses answers first (RFC 8305, "Happy Eyeballs"). */

export interface DialOptions {
  readonly port: number;
  /** For all attempts together. */
  readonly timeoutMs: number;
  /** How long an attempt has before the next one joins it. */
  readonly attemptDelayMs?: number;
  /** Looks at the address that the socket says it reached; what it throws ends the whole race. */
  readonly accept: (remoteAddress: string) => void;
}

/** No address answered. */
export class DialFailed extends Error {
  readonly reason: "refused" | "timeout" | "unreachable";

  constructor(reason: DialFailed["reason"], cause?: unknown) {
    super(reason, { cause });
    this.reason = reason;
  }
}

/** RFC 8305, section 5: the recommended Connection Attempt Delay. */
const recommendedDelayMs = 250;

/**
 * Dials the addresses one after the other, each given a head start; the first that connects wins, and the others are
 * closed. The caller owns the socket.
 *
 * @param addresses at least one literal address, each of them checked
 * @throws {DialFailed} when all have failed, or the time is over.
 */
export function dial(addresses: readonly string[], options: DialOptions): Promise<Socket> {
  return new Promise((resolve, reject) => new Race(addresses, options, { resolve, reject }).next());
}

interface Outcome {
  readonly resolve: (socket: Socket) => void;
  readonly reject: (error: unknown) => void;
}

class Race {
  readonly #waiting: string[];
  readonly #options: DialOptions;
  readonly #outcome: Outcome;
  readonly #running = new Set<Socket>();
  readonly #deadline: NodeJS.Timeout;
  #headStart: NodeJS.Timeout | undefined;
  #failure: DialFailed | undefined;

  constructor(addresses: readonly string[], options: DialOptions, outcome: Outcome) {
    this.#waiting = byTurns(addresses);
    this.#options = options;
    this.#outcome = outcome;
    this.#deadline = setTimeout(() => {
      this.#end();
      outcome.reject(new DialFailed("timeout"));
    }, options.timeoutMs);
  }

  next(): void {
    clearTimeout(this.#headStart);
    const address = this.#waiting.shift();
    if (address === undefined) {
      if (this.#running.size > 0) return;
      this.#end();
      this.#outcome.reject(this.#failure ?? new DialFailed("unreachable"));
      return;
    }
    if (this.#waiting.length > 0) {
      this.#headStart = setTimeout(() => this.next(), this.#options.attemptDelayMs ?? recommendedDelayMs);
    }
    this.#attempt(address);
  }

  #attempt(address: string): void {
    const socket = connect({
      host: address,
      port: this.#options.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    });
    this.#running.add(socket);
    const onError = (cause: NodeJS.ErrnoException) => {
      if (!this.#running.delete(socket)) return;
      // That somebody is there and does not want it says more than that nobody is. (Bun also says it of an address
      // that the kernel has no way to.)
      const reason = cause.code === "ECONNREFUSED" ? "refused" : "unreachable";
      if (this.#failure?.reason !== "refused") this.#failure = new DialFailed(reason, cause);
      this.next();
    };
    socket.on("error", onError);
    socket.once("connect", () => {
      // A socket that lost may still say so.
      if (!this.#running.delete(socket)) return;
      this.#end();
      try {
        // What was dialled is what was checked; a rewriting firewall or a runtime's own idea of the name is not.
        this.#options.accept(socket.remoteAddress ?? "");
      } catch (error) {
        socket.destroy();
        this.#outcome.reject(error);
        return;
      }
      // Until the new owner listens, an error must not be thrown into the void: that would end the process.
      socket.on("error", ignore);
      socket.removeListener("error", onError);
      socket.setNoDelay(true);
      this.#outcome.resolve(socket);
    });
  }

  /** Losers keep their error listener, for the same reason as the winner. */
  #end(): void {
    clearTimeout(this.#deadline);
    clearTimeout(this.#headStart);
    this.#waiting.length = 0;
    for (const socket of this.#running) socket.destroy();
    this.#running.clear();
  }
}

const ignore = () => undefined;

/** One of each family in turn, beginning with that of the first (RFC 8305, section 4). */
function byTurns(addresses: readonly string[]): string[] {
  const isIpv6 = (address: string) => address.includes(":");
  const startsWithIpv6 = isIpv6(addresses[0] ?? "");
  const preferred = addresses.filter((address) => isIpv6(address) === startsWithIpv6);
  const others = addresses.filter((address) => isIpv6(address) !== startsWithIpv6);
  return Array.from({ length: Math.max(preferred.length, others.length) }, (_, at) => [preferred[at], others[at]])
    .flat()
    .filter((address) => address !== undefined);
}
