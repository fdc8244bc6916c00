import { createHash } from "node:crypto";
import type { AgentConnection } from "./agent-connection.ts";
import type { Deadlines } from "./deadlines.ts";
import { writeAnswerHead } from "./headers.ts";
import { Field } from "./http1/field-names.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import type { UpstreamConnection } from "./upstream.ts";
import { FrameWatch } from "./websocket/frame-watch.ts";
import { JoinedWebSockets } from "./websocket/join.ts";
import type { MessageRewriters } from "./websocket/negotiate.ts";
import { Supervision } from "./websocket/supervision.ts";

/** Upgrades to WebSocket (RFC 6455, section 4), and the bytes behind them, both ways until one side closes. */

export function wantsWebSocket({ method, minor, fields }: RequestHead): boolean {
  return (
    fields.has(Field.upgrade) &&
    method === "GET" &&
    minor === 1 &&
    fields.hasToken(Field.upgrade, "websocket") &&
    fields.hasToken(Field.connection, "upgrade")
  );
}

const acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Is this 101 the answer to that handshake? Anything else would open a pipe that nobody agreed on. */
export function acceptsUpgrade({ fields: asked }: RequestHead, { fields }: ResponseHead): boolean {
  const key = asked.valueOf(Field.webSocketKey);
  if (key === undefined || fields.valueOf(Field.upgrade)?.toLowerCase() !== "websocket") return false;
  const expected = createHash("sha1").update(`${key}${acceptSuffix}`).digest("base64");
  return fields.valueOf(Field.webSocketAccept) === expected && fields.hasToken(Field.connection, "upgrade");
}

export interface Upgraded {
  readonly connection: AgentConnection;
  readonly upstream: UpstreamConnection;
  readonly head: ResponseHead;
  /** What the upstream sent right behind its head. */
  readonly early: Buffer;
  readonly stripsCookies: boolean;
  readonly deadlines: Deadlines;
  readonly idleMs: number;
  /** Undefined where nothing is to be looked into. */
  readonly rewriters: MessageRewriters | undefined;
  readonly onEnd: (end: UpgradeEnd) => void;
}

export interface UpgradeEnd {
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** What ended it from the middle, if anything did. */
  readonly failure: Error | undefined;
}

export interface OpenWebSocket {
  /** Can both sides be told goodbye now? */
  readonly isBetweenFrames: boolean;
  /** Says goodbye to both sides with this code (RFC 6455, section 7.4.1), where they are between two frames, and ends. */
  close(code: number): void;
}

/** RFC 6455, section 7.4.1. */
export const goingAway = 1001;
export const policyViolation = 1008;

/** Answers 101 and connects the two sockets. */
export function relayUpgraded(upgraded: Upgraded): OpenWebSocket {
  const { connection, upstream, head, early, rewriters, deadlines, idleMs, onEnd } = upgraded;
  writeAnswerHead(connection.out, head, {
    stripsCookies: upgraded.stripsCookies,
    isChunked: false,
    dropsLength: true,
    connection: "Upgrade",
  });
  const bytes = { agent: 0, upstream: 0 };
  const heldBack = connection.takeOver();
  connection.out.flush();
  const sockets = { agent: connection.socket, upstream: upstream.detach() };
  const supervision = new Supervision({ ...sockets, deadlines, idleMs, onIdle: () => joined.close(goingAway) });
  const joined: JoinedWebSockets = new JoinedWebSockets(
    {
      ...sockets,
      toUpstream: rewriters?.toUpstream ?? new FrameWatch(),
      toAgent: rewriters?.toAgent ?? new FrameWatch(),
      onBytes: (from, count) => {
        bytes[from] += count;
        supervision.touch();
      },
      onEnd: (failure) => {
        supervision.linger();
        onEnd({ bytesIn: bytes.agent, bytesOut: bytes.upstream, failure });
      },
    },
    heldBack,
    early,
  );
  return joined;
}
