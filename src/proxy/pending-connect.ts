import type { RequestHandler } from "./agent-connection.ts";

const ignore = (): void => undefined;

/** A CONNECT whose scope or leaf is being looked up. */
export class PendingConnect implements RequestHandler {
  readonly acceptsBody = false;
  isGone = false;

  onAgentGone(): void {
    this.isGone = true;
  }

  // A CONNECT has no body, what comes behind it waits for the tunnel, and looking up a scope ends by itself.
  readonly onBody = ignore;
  readonly onTrailers = ignore;
  readonly onRequestEnd = ignore;
  readonly onRequestBatch = ignore;
  readonly onAgentDrain = ignore;
  readonly onBadBody = ignore;
  readonly onDeadline = ignore;
}
