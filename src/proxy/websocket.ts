import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import type { AgentConnection } from "./agent-connection.ts";
import type { Deadlines } from "./deadlines.ts";
import { writeAnswerHead } from "./headers.ts";
import { Field } from "./http1/field-names.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import type { UpstreamConnection } from "./upstream.ts";
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
  /** Undefined copies bytes both ways. */
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
  /** Ends it from here, with this code where a Close frame can be sent (RFC 6455, section 7.4.1). */
  close(code: number): void;
}

/** Answers 101 and connects the two sockets. */
export function relayUpgraded(upgraded: Upgraded): OpenWebSocket {
  const { connection, head, rewriters } = upgraded;
  writeAnswerHead(connection.out, head, {
    stripsCookies: upgraded.stripsCookies,
    isChunked: false,
    dropsLength: true,
    connection: "Upgrade",
  });
  return rewriters === undefined ? relayBytes(upgraded) : relayMessages(upgraded, rewriters);
}

function relayBytes(upgraded: Upgraded): OpenWebSocket {
  const { connection, upstream, early } = upgraded;
  if (early.length > 0) connection.out.bytes(early);
  const heldBack = connection.takeOver();
  const pipe = new Pipe(connection.socket, upstream.detach(), upgraded, heldBack, early.length);
  connection.out.flush();
  return pipe;
}

function relayMessages(upgraded: Upgraded, { toUpstream, toAgent }: MessageRewriters): OpenWebSocket {
  const { connection, upstream, deadlines, idleMs, onEnd } = upgraded;
  const bytes = { agent: 0, upstream: 0 };
  const heldBack = connection.takeOver();
  connection.out.flush();
  const sockets = { agent: connection.socket, upstream: upstream.detach() };
  const supervision = new Supervision({
    ...sockets,
    deadlines,
    idleMs,
    // RFC 6455, section 7.4.1: going away.
    onIdle: () => joined.close(1001),
  });
  const joined: JoinedWebSockets = new JoinedWebSockets(
    {
      ...sockets,
      toUpstream,
      toAgent,
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
    upgraded.early,
  );
  return joined;
}

class Pipe implements OpenWebSocket {
  readonly #agent: Socket;
  readonly #upstream: Socket;
  readonly #upgraded: Upgraded;
  readonly #supervision: Supervision;
  #bytesIn = 0;
  #bytesOut: number;
  #isOver = false;

  constructor(agent: Socket, upstream: Socket, upgraded: Upgraded, heldBack: Buffer, earlyBytes: number) {
    this.#agent = agent;
    this.#upstream = upstream;
    this.#upgraded = upgraded;
    this.#bytesOut = earlyBytes;
    const { deadlines, idleMs } = upgraded;
    this.#supervision = new Supervision({
      agent,
      upstream,
      deadlines,
      idleMs,
      onIdle: () => this.#end(),
    });
    this.#join(agent, upstream, (bytes) => {
      this.#bytesIn += bytes;
    });
    this.#join(upstream, agent, (bytes) => {
      this.#bytesOut += bytes;
    });
    if (heldBack.length > 0) {
      this.#bytesIn += heldBack.length;
      upstream.write(heldBack);
    }
    agent.resume();
    upstream.resume();
  }

  close(): void {
    this.#end();
  }

  #join(from: Socket, to: Socket, count: (bytes: number) => void): void {
    from.on("data", (chunk: Buffer) => {
      count(chunk.length);
      this.#supervision.touch();
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => from.resume());
    // What was received is still delivered; the Close frames travelled as data.
    from.on("end", () => to.end());
    from.on("close", () => {
      to.end();
      if (this.#agent.destroyed && this.#upstream.destroyed) this.#end();
    });
    from.on("error", () => this.#end());
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#agent.destroy();
    this.#upstream.destroy();
    this.#upgraded.onEnd({ bytesIn: this.#bytesIn, bytesOut: this.#bytesOut, failure: undefined });
  }
}
