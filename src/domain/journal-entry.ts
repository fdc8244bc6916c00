import type { CredentialKey, ScrubMode } from "./services/service.ts";

/** What is remembered about one proxied request, also a refused one. Header values, bodies and queries never are. */
export interface JournalEntry {
  readonly requestId: string;
  readonly vaultId: string;
  readonly actorType: "user" | "agent" | "";
  readonly actorId: string;
  readonly sessionId: string;
  readonly method: string;
  /** `raw`: a tunnel whose TLS was not ended here. */
  readonly scheme: "https" | "http" | "raw";
  /** `host:port`. */
  readonly host: string;
  /** As the agent sent it, without query, before substitution. */
  readonly path: string;
  readonly matchedService: string;
  readonly credentialKeys: readonly string[];
  readonly status: number;
  readonly errorCode: string;
  /** How the agent tried to authenticate by itself: bearer, basic, api-key or empty; and in which header. */
  readonly authScheme: string;
  readonly authHeader: string;
  readonly clientIp: string;
  /** Undefined for `mitm`, which nearly all are; `tunnel` is a tunnel that has ended. */
  readonly ingress?: "tunnel" | undefined;
  /** That the agent spoke; undefined for `http/1.1`. */
  readonly protocol?: "http/1.0" | "h2" | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly startedAtMs: number;
  readonly latencyMs: number;
  /** From the last byte of the request head sent to the first byte of the response head; null when none came. */
  readonly upstreamMs: number | null;
  /** Present when the answer held a value that went out with the request, or could not be searched. */
  readonly scrubbed?: ScrubFinding | undefined;
  /** What most requests do not have to tell. */
  readonly details?: EntryDetails | undefined;
}

export interface EntryDetails {
  /** How long it waited for a place within the limits of its token. */
  readonly queueMs?: number;
  /** The connection to the upstream that was opened for it. */
  readonly dial?: DialDetails;
  /** It went out on a connection that was there already, and no answer came: with an answer that goes without saying. */
  readonly isUnanswered?: true;
  /** It was sent a second time, because the first connection had gone. */
  readonly isRetried?: true;
}

/** What it took to open a connection; 0 for what was not needed. */
export interface DialDetails {
  readonly dnsMs: number;
  /** With an egress proxy: until it had opened the tunnel. */
  readonly connectMs: number;
  readonly tlsMs: number;
  /** The address of the other end; empty where an egress proxy chose it. */
  readonly address: string;
}

export interface ScrubFinding {
  readonly mode: ScrubMode;
  /** The credentials whose values were found. */
  readonly found: readonly CredentialKey[];
  /** A part of the answer passed without being understood. */
  readonly isBlind: boolean;
}

export interface JournalSink {
  /** Never blocks and never throws; the row is written in a batch. */
  record(entry: JournalEntry): void;
}
