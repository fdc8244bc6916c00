import type { Socket } from "node:net";
import type { ScopeLease } from "../domain/actors/scope.ts";
import { ProxyLimited } from "../domain/limits/proxy-budget.ts";
import type { Service } from "../domain/services/service.ts";
import type { VaultSnapshot } from "../domain/vaults/snapshot.ts";
import { AppError } from "../errors.ts";
import { type Authority as Address, formatAuthority } from "../net/address.ts";
import { readClientHello } from "../runtime/client-hello.ts";
import { Admission } from "./admission.ts";
import type { ProxyContext } from "./context.ts";
import type { Expiring } from "./deadlines.ts";
import type { Leased, OpenKind } from "./open-connections.ts";

export interface RawTunnelOptions {
  readonly authority: Address;
  readonly service: Service;
  readonly lease: ScopeLease;
  readonly clientIp: string;
  readonly context: ProxyContext;
  /** The one that the agent is told where the CONNECT is refused. */
  readonly requestId: string;
}

const established = "HTTP/1.1 200 Connection Established\r\n\r\n";
/** What may wait in a socket for a slow peer before its source is stopped. */
const maxWaitingBytes = 128 * 1024;

/**
 * A tunnel whose TLS is not ended here, for clients that accept one certificate only: bytes both ways, to the host of
 * the CONNECT and to nobody else. No credential can be attached, and nothing inside is seen but the name in the
 * ClientHello, which must be the host's. It counts as a stream of its token from the CONNECT to its end.
 */
export class RawTunnel implements Expiring, Leased {
  readonly kind: OpenKind = "raw_tunnel";
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #options: RawTunnelOptions;
  readonly #admission = new Admission();
  readonly #startedAtMs: number;
  #agent: Socket | undefined;
  #upstream: Socket | undefined;
  /** Until the ClientHello is complete: nothing goes up before its name was read. */
  #hello: Buffer | undefined = Buffer.alloc(0);
  #bytesIn = 0;
  #bytesOut = 0;
  #code = "";
  #isClosing = false;
  #isOver = false;

  private constructor(options: RawTunnelOptions) {
    this.#options = options;
    this.#startedAtMs = options.context.clock.now();
  }

  /**
   * Reaches the upstream, within all rules for addresses and ports, before the agent is told that the tunnel is there.
   * @returns what begins it.
   * @throws {ProxyLimited} @throws what `Outbound.connect` throws.
   */
  static async dial(options: RawTunnelOptions): Promise<RawTunnel> {
    const tunnel = new RawTunnel(options);
    const { context, lease, authority } = options;
    try {
      const nowMs = context.clock.now();
      tunnel.#admission.enter(context.admissions.budgetOf(lease, nowMs), { nowMs, isStream: true });
      const { vaultId } = lease.scope;
      tunnel.#upstream = await context.outbound.connect({ ...authority, vaultId });
      tunnel.#upstream.on("error", () => tunnel.#end("upstream_aborted"));
      return tunnel;
    } catch (error) {
      tunnel.#code =
        error instanceof ProxyLimited ? error.journalCode : error instanceof AppError ? error.code : "internal";
      tunnel.#finish(error instanceof AppError ? error.status : 500);
      throw error;
    }
  }

  /** Takes the agent's socket. @param early what it sent behind its CONNECT without waiting. */
  begin(agent: Socket, early: Buffer): void {
    const { context } = this.#options;
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#agent = agent;
    context.open.add(this);
    this.deadlineMs = performance.now() + context.timeouts.clientTlsMs;
    context.deadlines.watch(this);
    agent.write(established, "latin1");
    agent.on("data", (chunk: Buffer) => this.#fromAgent(chunk));
    upstream.on("data", (chunk: Buffer) => this.#fromUpstream(chunk));
    agent.on("drain", () => upstream.resume());
    upstream.on("drain", () => agent.resume());
    agent.on("end", () => upstream.end());
    upstream.on("end", () => agent.end());
    agent.on("error", () => this.#end("client_aborted"));
    agent.on("close", () => this.#end(this.#hello === undefined ? "" : "tls_handshake_failed"));
    upstream.on("close", () => this.#onUpstreamClose());
    if (upstream.destroyed || agent.destroyed) this.#end("upstream_aborted");
    else if (early.length > 0) this.#fromAgent(early);
    agent.resume();
  }

  /** The agent went away while the upstream was dialled. */
  abandon(): void {
    this.#code = "client_aborted";
    this.#finish(499);
    this.#upstream?.destroy();
  }

  get lease(): ScopeLease {
    return this.#options.lease;
  }

  recheck(snapshot: VaultSnapshot): void {
    const { authority, service } = this.#options;
    const now = snapshot.rawServiceFor(authority.host, authority.port);
    if (now?.name !== service.name) this.#end("service_removed");
  }

  revoke(): void {
    this.#end("revoked");
  }

  leave(): void {
    // It has no good moment to end at.
  }

  cut(): void {
    this.#end("server_stopped");
  }

  onDeadline(): void {
    if (this.#isClosing) this.#end("");
    else this.#end(this.#hello === undefined ? "idle_timeout" : "tls_handshake_timeout");
  }

  #fromAgent(chunk: Buffer): void {
    if (this.#isOver) return;
    if (this.#hello === undefined) {
      this.#bytesIn += chunk.length;
      this.#pass(chunk, this.#agent, this.#upstream);
      return;
    }
    this.#hello = Buffer.concat([this.#hello, chunk]);
    const reading = readClientHello(this.#hello);
    if (reading.kind === "incomplete") return;
    if (reading.kind === "not_tls") this.#end("raw_not_tls");
    else if (reading.name !== this.#options.authority.host) this.#end("sni_mismatch");
    else {
      const first = this.#hello;
      this.#hello = undefined;
      this.#bytesIn += first.length;
      this.#pass(first, this.#agent, this.#upstream);
    }
  }

  #fromUpstream(chunk: Buffer): void {
    if (this.#isOver) return;
    if (this.#hello !== undefined) {
      // In TLS the client speaks first, and until its name was read nothing passes.
      this.#end("raw_not_tls");
      return;
    }
    this.#bytesOut += chunk.length;
    this.#pass(chunk, this.#upstream, this.#agent);
  }

  #pass(chunk: Buffer, from: Socket | undefined, to: Socket | undefined): void {
    if (!this.#isClosing) {
      const { deadlines, timeouts } = this.#options.context;
      this.deadlineMs = deadlines.now + timeouts.rawIdleMs;
    }
    if (!to?.writable) return;
    to.write(chunk);
    if (to.writableLength > maxWaitingBytes) from?.pause();
  }

  /** What it sent last still reaches the agent. */
  #onUpstreamClose(): void {
    if (this.#isOver) return;
    if (this.#hello !== undefined) {
      this.#end("upstream_aborted");
      return;
    }
    const { deadlines, timeouts } = this.#options.context;
    this.#isClosing = true;
    this.#agent?.end();
    this.deadlineMs = deadlines.now + timeouts.lingerMs;
  }

  #end(code: string): void {
    if (this.#isOver) return;
    this.#code ||= code;
    this.#finish(200);
    this.#upstream?.destroy();
    this.#agent?.destroy();
  }

  #finish(status: number): void {
    this.#isOver = true;
    this.#admission.leave();
    const { context, lease, service, authority, clientIp } = this.#options;
    context.deadlines.forget(this);
    context.open.remove(this);
    const { scope } = lease;
    context.journal.record({
      requestId: this.#options.requestId,
      vaultId: scope.vaultId,
      actorType: scope.actorType,
      actorId: scope.actorId,
      sessionId: scope.sessionId,
      method: "CONNECT",
      scheme: "raw",
      host: formatAuthority(authority),
      path: "",
      matchedService: service.name,
      credentialKeys: [],
      status,
      errorCode: this.#code,
      authScheme: "",
      authHeader: "",
      clientIp,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      startedAtMs: this.#startedAtMs,
      latencyMs: context.clock.now() - this.#startedAtMs,
      upstreamMs: null,
    });
  }
}
