import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { DialTimings } from "../net/outbound.ts";
import type { AnswerRelay } from "./answer-relay.ts";
import type { RequestOptions } from "./headers.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import type { Origin } from "./pool.ts";
import type { Refusal } from "./refusal.ts";
import type { UpstreamUser } from "./upstream.ts";

/** The two sides of an exchange, whatever version of HTTP they speak. */

/** The agent, for one request: a connection of HTTP/1.1, or a stream of HTTP/2. */
export interface AgentSide {
  readonly clientIp: string;
  /** Are there other requests beside this one? Then upstreams may be shared as well. */
  readonly isMultiplexed: boolean;
  /** On the clock of `Deadlines.now`. */
  deadlineMs: number;
  /** Has the whole request arrived? */
  readonly isRequestComplete: boolean;
  /** Inside of a data event, whose output is written when it is through. */
  readonly isReading: boolean;
  readonly isDraining: boolean;
  /** Stops handing over the body until `resume`: the other side is slow. */
  pause(): void;
  resume(): void;
  readonly isPaused: boolean;
  /** The body is taken now: hands over what was held back. */
  releaseBody(): void;
  /** Where the answer to this request goes. @param maxBytes 0 is unlimited. */
  answerTo(head: RequestHead, maxBytes: number): AnswerRelay;
  /** Tells an agent that waits for it to send the body (RFC 9110, section 10.1.1). */
  sendContinue(): void;
  /** Answers in the broker's own name. */
  refuse(refusal: Refusal): void;
  /** Agrees to a WebSocket, and gives up the bytes behind it. The new owner listens for everything but errors. */
  switchTo(head: ResponseHead, stripsCookies: boolean): { readonly socket: Duplex; readonly early: Buffer };
  /** Writes what was produced. False when the agent is slow: `onAgentDrain` follows. */
  flush(): boolean;
  /** The same at the end of an event, possibly together with what others have to write. */
  flushSoon(): boolean;
  /** The request is answered. */
  done(closes: boolean): void;
  /** The answer cannot be completed, which the agent must see. @param code why, where HTTP/2 can say it. */
  abort(code?: number): void;
  /** A bug of ours: it costs this connection or stream. */
  crash(error: unknown): void;
}

/** The upstream, for one request. */
export interface UpstreamSide {
  /** Has its connection carried an answer before? Only then may its death be blamed on idling. */
  readonly isReused: boolean;
  /** What opening its connection took; undefined when another request had it opened. */
  readonly timings: DialTimings | undefined;
  /** Has anything arrived for the current request? */
  readonly hasAnswered: boolean;
  /** Has the upstream promised that it did nothing about the request? */
  readonly isUnprocessed: boolean;
  /** May that happen to any request, so that its body is better kept for another try? */
  readonly mayRefuseStreams: boolean;
  /** The last answer was complete and allows another. */
  readonly isReusable: boolean;
  begin(user: UpstreamUser, method: string): void;
  /** @throws {UnwritableHead} */
  writeHead(head: RequestHead, options: RequestOptions): void;
  writeBody(chunk: Buffer, isChunked: boolean): void;
  writeEnd(trailers: HeaderList, isChunked: boolean): void;
  /** Writes what was produced. False when the upstream is slow: `onUpstreamDrain` follows. */
  flush(): boolean;
  /** The same at the end of an event, possibly together with what others have to write. */
  flushSoon(): boolean;
  /** Holds back the answer until `resume`: the agent is slow. */
  pause(): void;
  resume(): void;
  readonly isPaused: boolean;
  /** Nobody waits for the answer any more. @param code why, where HTTP/2 can say it. */
  abandon(code?: number): void;
  destroy(): void;
  /** Hands over the raw socket behind a 101. */
  detach(): Socket;
}

/** Where exchanges get their upstreams from. */
export interface UpstreamPool {
  /** One that can be used at once. */
  take(key: string): UpstreamSide | undefined;
  /** @throws what `Outbound.connect` and `connectTls` throw. */
  dial(key: string, origin: Origin): Promise<UpstreamSide>;
  /** Takes one back after a complete answer, or unused. */
  release(key: string, upstream: UpstreamSide): void;
}
