import { hosts, proxyAuthorization, type Stage } from "./stage.ts";
import { Wire } from "./wire.ts";

/** What a smuggler wants the upstream to see as a request of its own. */
export const prize = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
export const chunkedPrize = `0\r\n\r\n${prize}`;

export interface Attempt {
  readonly name: string;
  /** A request; `{target}` and `{host}` are filled in, and `{authorization}` where a second one needs it. */
  readonly bytes: string;
}

export const postHead = "POST {target} HTTP/1.1\r\nHost: {host}\r\n";
export const getHead = "GET {target} HTTP/1.1\r\nHost: {host}\r\n";

/** Sends the same bytes in a tunnel or in absolute form. */
export class Smuggler {
  static readonly ways = [{ way: "in a tunnel" }, { way: "in absolute form" }] as const;
  readonly #stage: Stage;
  readonly #isTunnel: boolean;

  constructor(stage: Stage, way: (typeof Smuggler.ways)[number]["way"]) {
    this.#stage = stage;
    this.#isTunnel = way === "in a tunnel";
  }

  get upstream() {
    return this.#isTunnel ? this.#stage.secure : this.#stage.plain;
  }

  dial(): Promise<Wire> {
    return this.#isTunnel ? this.#stage.tunnel() : Wire.dial(this.#stage.server.proxyPort);
  }

  /** The answer, and what comes behind it until the connection ends. */
  async send(bytes: string) {
    const wire = await this.dial();
    wire.send(this.fill(bytes));
    const answer = await wire.answer();
    const rest = await wire.untilClosed();
    wire.close();
    return { answer, rest };
  }

  fill(bytes: string): string {
    const host = `${hosts.api}:${this.upstream.port}`;
    const target = this.#isTunnel ? "/" : `http://${host}/`;
    const filled = bytes.replaceAll("{target}", target).replaceAll("{host}", host);
    const authorization = this.#isTunnel ? "" : proxyAuthorization({}, this.#stage.token);
    return filled.replace(/\n/, `\n${authorization}`).replace("{authorization}", authorization);
  }
}

export function isRefusal(status: number): boolean {
  return (status >= 400 && status < 500) || status === 501 || status === 505;
}
