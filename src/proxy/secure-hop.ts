import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type SecureContext, terminateTls } from "../runtime/tls.ts";
import type { ProxyContext } from "./context.ts";
import type { Expiring } from "./deadlines.ts";

const nothing = Buffer.alloc(0);

export interface SecureHopOptions {
  readonly socket: Socket;
  readonly tls: SecureContext;
  readonly context: ProxyContext;
  /** Once the handshake is through. */
  readonly onSecure: (secure: TLSSocket) => void;
}

/** TLS between agent and proxy, around everything that the agent sends: the handshake, which must not take for ever. */
export class SecureHop implements Expiring {
  deadlineMs: number;
  readonly #options: SecureHopOptions;
  readonly #secure: TLSSocket;
  #isSettled = false;

  private constructor(options: SecureHopOptions) {
    const { socket, tls, context } = options;
    this.#options = options;
    this.deadlineMs = performance.now() + context.timeouts.clientTlsMs;
    context.deadlines.watch(this);
    this.#secure = terminateTls(socket, tls, nothing);
    this.#secure.once("secure", () => this.#onSecure());
    this.#secure.on("error", this.#onFailure);
    this.#secure.once("close", this.#onFailure);
    // The raw socket may end without the TLS socket hearing of it.
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#secure.destroy());
  }

  static open(options: SecureHopOptions): void {
    new SecureHop(options);
  }

  onDeadline(): void {
    this.#onFailure();
  }

  #onSecure(): void {
    if (this.#isSettled) return;
    this.#settle("ok");
    this.#secure.removeListener("error", this.#onFailure);
    this.#options.onSecure(this.#secure);
  }

  readonly #onFailure = (): void => {
    if (this.#isSettled) return;
    this.#settle("proxy_tls_failed");
    this.#secure.destroy();
    this.#options.socket.destroy();
  };

  #settle(result: string): void {
    this.#isSettled = true;
    const { context } = this.#options;
    context.deadlines.forget(this);
    // A good one is counted where its tunnel is.
    if (result !== "ok") context.metrics.handshake(result);
  }
}
