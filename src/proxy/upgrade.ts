import type { CredentialKey } from "../domain/services/service.ts";
import { goingAway, type OpenWebSocket, policyViolation, relayUpgraded, type Upgraded } from "./websocket.ts";

export interface UpgradeOptions extends Omit<Upgraded, "onEnd"> {
  /** @param failure what ended it from the middle, if anything did. */
  readonly onEnd: (upgrade: Upgrade, failure: Error | undefined) => void;
}

/** What an exchange becomes when the upstream answers 101: a WebSocket, until one side closes or it has to end. */
export class Upgrade {
  /** Known at its end. */
  bytesIn = 0;
  bytesOut = 0;
  /** Why it was ended from here. */
  endCode = "";
  readonly #rewriters: Upgraded["rewriters"];
  readonly #webSocket: OpenWebSocket;

  constructor(options: UpgradeOptions) {
    this.#rewriters = options.rewriters;
    this.#webSocket = relayUpgraded({
      ...options,
      onEnd: ({ bytesIn, bytesOut, failure }) => {
        this.bytesIn = bytesIn;
        this.bytesOut = bytesOut;
        options.onEnd(this, failure);
      },
    });
  }

  /** What was found in messages of the upstream; undefined where nothing is looked into. */
  get found(): ReadonlySet<CredentialKey> | undefined {
    return this.#rewriters?.found();
  }

  /** The server stops: ends where both sides can be told. */
  leave(): void {
    if (!this.#webSocket.isBetweenFrames) return;
    this.endCode = "server_stopped";
    this.#webSocket.close(goingAway);
  }

  /** @param code for the journal. */
  revoke(code: string): void {
    this.endCode = code;
    this.#webSocket.close(policyViolation);
  }
}
