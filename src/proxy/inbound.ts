import type { ScopeLease } from "../domain/actors/scope.ts";
import type { Framing } from "./http1/framing.ts";
import type { RequestHead } from "./http1/head.ts";
import type { Route } from "./route.ts";

/** A request as it was read, and where it is to go. */
export interface Inbound {
  readonly head: RequestHead;
  readonly framing: Framing;
  readonly route: Route;
  /** Origin form, byte for byte as the agent sent it. */
  readonly target: string;
  /** Of the tunnel; undefined where the request brings its own credentials. */
  readonly lease: ScopeLease | undefined;
  /** Hears of a lease that was found for this connection. */
  readonly onLease?: (lease: ScopeLease) => void;
}
