import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, rootCertificates, type TLSSocket } from "node:tls";
import { createRoot, generateKeyPair, issueLeaf, privateKeyPem } from "../../src/crypto/certificate.ts";
import type { Scope, ScopeLease, ScopeResolver } from "../../src/domain/actors/scope.ts";
import { systemClock } from "../../src/domain/clock.ts";
import type { JournalEntry } from "../../src/domain/journal-entry.ts";
import { type ProxyBudgetSettings, ProxyBudgets } from "../../src/domain/limits/proxy-budget.ts";
import { headerTemplates } from "../../src/domain/services/auth.ts";
import { referencedKeys } from "../../src/domain/services/definition.ts";
import { compileMatcher } from "../../src/domain/services/match.ts";
import type { ScrubMode, Service } from "../../src/domain/services/service.ts";
import type { SnapshotSource, VaultSnapshot } from "../../src/domain/vaults/snapshot.ts";
import { NotFound, Unauthenticated, UpstreamFailed } from "../../src/errors.ts";
import { silentLogger } from "../../src/log.ts";
import { Outbound } from "../../src/net/outbound.ts";
import { NetworkPolicy, type NetworkPolicyOptions } from "../../src/net/policy.ts";
import { type ProxyListener, type ProxyOptions, startProxy } from "../../src/proxy/listener.ts";
import { Metrics } from "../../src/runtime/metrics.ts";
import { createServerContext, type SecureContext } from "../../src/runtime/tls.ts";
import { MemoryEphemeral } from "../../src/storage/ephemeral-memory.ts";
import type { TestAuthority } from "./test-authority.ts";

export const testToken = "av_sess_test";

export interface ProxySetup {
  /** Whose upstreams are trusted. */
  readonly trusted: TestAuthority;
  readonly services?: readonly Service[];
  readonly credentials?: Readonly<Record<string, string>>;
  readonly policy?: "passthrough" | "deny";
  readonly scrubMode?: ScrubMode;
  readonly network?: NetworkPolicyOptions;
  /** Addresses of names; every name is 127.0.0.1 unless it is said otherwise. */
  readonly addresses?: Readonly<Record<string, readonly string[]>>;
  /** Without them nothing is limited. */
  readonly limits?: Partial<ProxyBudgetSettings>;
  readonly options?: Partial<ProxyOptions>;
}

const noLimits: ProxyBudgetSettings = { isOff: true, rate: 0, burst: 0, concurrency: 0, waitMs: 0 };

/** The proxy on a port of its own, with one vault behind it that a test can change as it likes. */
export class TestProxy implements AsyncDisposable {
  /** All but tunnels that have ended. */
  readonly journal: JournalEntry[] = [];
  readonly tunnels: JournalEntry[] = [];
  readonly vault: TestVault;
  readonly rootPem: string;
  readonly metrics: Metrics;
  readonly #listener: ProxyListener;

  private constructor(parts: {
    readonly vault: TestVault;
    readonly rootPem: string;
    readonly listener: ProxyListener;
    readonly journal: JournalEntry[];
    readonly tunnels: JournalEntry[];
    readonly metrics: Metrics;
  }) {
    this.vault = parts.vault;
    this.rootPem = parts.rootPem;
    this.#listener = parts.listener;
    this.journal = parts.journal;
    this.tunnels = parts.tunnels;
    this.metrics = parts.metrics;
  }

  static async start(setup: ProxySetup): Promise<TestProxy> {
    const vault = new TestVault(setup);
    const authority = await TestLeaves.create();
    const journal: JournalEntry[] = [];
    const tunnels: JournalEntry[] = [];
    const metrics = new Metrics();
    const outbound = new Outbound({
      policy: new NetworkPolicy(setup.network ?? { allowPrivateRanges: true, allowlist: [] }),
      trust: createSecureContext({ ca: [...rootCertificates, setup.trusted.pem] }),
      resolve: async (host) => setup.addresses?.[host] ?? ["127.0.0.1"],
    });
    const listener = await startProxy({
      host: "127.0.0.1",
      port: 0,
      scopes: vault,
      snapshots: vault,
      budgets: new ProxyBudgets({ ...noLimits, ...setup.limits }, new MemoryEphemeral()),
      connections: { max: 0, maxPerAddress: 0, maxPerToken: 0 },
      onChange: (listener) => vault.watch(listener),
      authority,
      journal: { record: (entry) => void (entry.ingress === "tunnel" ? tunnels : journal).push(entry) },
      outbound,
      metrics,
      log: silentLogger,
      clock: systemClock,
      maxRequestBytes: 1024 ** 3,
      maxResponseBytes: 0,
      minBodyRate: 0,
      ...setup.options,
    });
    return new TestProxy({ vault, rootPem: authority.rootPem, listener, journal, tunnels, metrics });
  }

  get port(): number {
    return this.#listener.port;
  }

  get url(): string {
    return `http://${testToken}:billing@127.0.0.1:${this.port}`;
  }

  /** A plain connection to the proxy. */
  async dial(): Promise<RawClient> {
    const socket = connect({ host: "127.0.0.1", port: this.port, noDelay: true });
    await once(socket, "connect");
    return new RawClient(socket);
  }

  /** A tunnel, with TLS inside. */
  async tunnel(authority: string, options: { servername?: string; token?: string } = {}): Promise<RawClient> {
    const client = await this.dial();
    client.send(connectHead(authority, options.token ?? testToken));
    const answer = await client.head();
    if (!answer.startsWith("HTTP/1.1 200 ")) throw new Error(answer);
    return await client.secure(options.servername ?? authority.split(":")[0] ?? "", this.rootPem);
  }

  async close(graceMs = 0): Promise<void> {
    await this.#listener.close({ graceMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export function connectHead(authority: string, token: string, vault = "billing"): string {
  const credentials = Buffer.from(`${token}:${vault}`).toString("base64");
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`;
}

/** A client that sends and reads bytes, not messages. */
export class RawClient implements AsyncDisposable {
  readonly socket: Socket;
  #buffer = "";
  #isClosed = false;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", this.#onData);
    socket.on("error", this.#onClose);
    socket.on("close", this.#onClose);
    socket.on("end", this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#buffer += chunk.toString("latin1");
    this.#wake?.();
  };

  readonly #onClose = (): void => {
    this.#isClosed = true;
    this.#wake?.();
  };

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(text: string): void {
    this.socket.write(text, "latin1");
  }

  /** Everything up to and including `mark`; throws with what did arrive when the peer closes before. */
  async until(mark: string): Promise<string> {
    return await this.#take(() => {
      const at = this.#buffer.indexOf(mark);
      return at === -1 ? -1 : at + mark.length;
    });
  }

  async head(): Promise<string> {
    return await this.until("\r\n\r\n");
  }

  async bytes(count: number): Promise<string> {
    return await this.#take(() => (this.#buffer.length >= count ? count : -1));
  }

  /** A whole answer that has a Content-Length. */
  async answer(): Promise<{ readonly status: number; readonly head: string; readonly body: string }> {
    const head = await this.head();
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    return { status: Number(head.slice(9, 12)), head, body: length === 0 ? "" : await this.bytes(length) };
  }

  /** What is left when the peer has closed. */
  async rest(): Promise<string> {
    while (!this.#isClosed) await this.#arrival();
    const rest = this.#buffer;
    this.#buffer = "";
    return rest;
  }

  async secure(servername: string, ca: string): Promise<RawClient> {
    this.socket.removeListener("data", this.#onData);
    const secure: TLSSocket = connectTls({ socket: this.socket, servername, ca: [ca] });
    await Promise.race([
      once(secure, "secureConnect"),
      once(this.socket, "close").then(() => Promise.reject(new Error("closed during the handshake"))),
    ]);
    return new RawClient(secure);
  }

  async #take(find: () => number): Promise<string> {
    for (;;) {
      const end = find();
      if (end !== -1) {
        const taken = this.#buffer.slice(0, end);
        this.#buffer = this.#buffer.slice(end);
        return taken;
      }
      if (this.#isClosed) throw new Error(`closed after ${JSON.stringify(this.#buffer)}`);
      await this.#arrival();
    }
  }

  async #arrival(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
  }
}

/** Scopes and snapshot of one vault, in memory. */
export class TestVault implements ScopeResolver, SnapshotSource {
  services: readonly Service[];
  credentials: Readonly<Record<string, string>>;
  policy: "passthrough" | "deny";
  scrubMode: ScrubMode;
  isRevoked = false;
  /** A change was announced: everything is to be looked at again. */
  isStale = false;
  /** Looking again fails with this. */
  outage: Error | undefined;
  readonly #watchers = new Set<() => void>();
  readonly scope: Scope = {
    vaultId: "vault-1",
    vaultName: "billing",
    vaultRole: "proxy",
    actorType: "user",
    actorId: "user-1",
    sessionId: "session-1",
  };

  constructor({ services = [], credentials = {}, policy = "passthrough", scrubMode = "redact" }: ProxySetup) {
    this.services = services;
    this.credentials = credentials;
    this.policy = policy;
    this.scrubMode = scrubMode;
  }

  watch(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** As when something was changed. */
  announce(): void {
    for (const listener of this.#watchers) listener();
  }

  async resolve(token: string, vaultHint: string | undefined): Promise<ScopeLease> {
    if (token !== testToken || this.isRevoked) throw new Unauthenticated("invalid_token", "The token is not valid");
    if (vaultHint !== undefined && vaultHint !== "billing") throw new NotFound("vault_not_found", "No such vault");
    return {
      scope: this.scope,
      isCurrent: () => !this.isRevoked && !this.outage,
      renew: async () => {
        if (this.outage) throw this.outage;
        if (this.isRevoked) throw new Unauthenticated("invalid_token", "The token was revoked");
      },
    };
  }

  current(): VaultSnapshot | undefined {
    return this.isStale ? undefined : this.#snapshot();
  }

  async load(): Promise<VaultSnapshot> {
    return this.#snapshot();
  }

  #snapshot(): VaultSnapshot {
    const matcher = compileMatcher(this.services);
    const { credentials } = this;
    return {
      vaultId: this.scope.vaultId,
      vaultName: this.scope.vaultName,
      version: 1,
      unmatchedHostPolicy: this.policy,
      match: (target) => matcher.match(target),
      rawServiceFor: (host, port) => matcher.rawServiceFor(host, port),
      renewedInjection: async () => undefined,
      scrubMode: this.scrubMode,
      injectionFor: (service) => {
        const reveal = (key: string) => {
          const value = credentials[key];
          if (value === undefined) throw new UpstreamFailed("credential_not_found", `Credential ${key} is missing`);
          return value;
        };
        return {
          headers: headerTemplates(service.auth).map(({ name, render }) => ({ name, value: render(reveal) })),
          values: new Map(referencedKeys(service).map((key) => [key, reveal(key)])),
          isRenewable: false,
        };
      },
    };
  }
}

class TestLeaves {
  readonly rootPem: string;
  readonly #mint: (name: string) => Promise<SecureContext>;
  readonly #known = new Map<string, SecureContext>();

  private constructor(rootPem: string, mint: (name: string) => Promise<SecureContext>) {
    this.rootPem = rootPem;
    this.#mint = mint;
  }

  static async create(): Promise<TestLeaves> {
    const root = await createRoot(Date.now());
    const keys = await generateKeyPair();
    const keyPem = await privateKeyPem(keys.privateKey);
    return new TestLeaves(root.pem, async (name) =>
      createServerContext(
        await issueLeaf({ root, publicKey: keys.publicKey, names: [name], nowMs: Date.now() }),
        keyPem,
      ),
    );
  }

  leafFor(name: string): SecureContext | Promise<SecureContext> {
    return this.#known.get(name) ?? this.#make(name);
  }

  async #make(name: string): Promise<SecureContext> {
    const context = await this.#mint(name);
    this.#known.set(name, context);
    return context;
  }
}
