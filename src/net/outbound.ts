import { lookup } from "node:dns/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type SecureContext, type TLSSocket } from "node:tls";
import { UpstreamFailed } from "../errors.ts";
import { type Authority, formatAuthority, isIpLiteral } from "./address.ts";
import type { NetworkPolicy } from "./policy.ts";

/** Connections to upstreams: the name is resolved once, every answer is checked, and only a checked one is dialled. */

export interface OutboundOptions {
  readonly policy: NetworkPolicy;
  readonly trust: SecureContext;
  readonly connectTimeoutMs?: number;
  readonly tlsTimeoutMs?: number;
  /** All addresses of a name; the system's resolver unless a test says otherwise. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

/** A TLS session kept from an earlier connection to the same origin, to resume. */
export interface SessionStore {
  session: Buffer | undefined;
}

export class Outbound {
  readonly #policy: NetworkPolicy;
  readonly #trust: SecureContext;
  readonly #connectTimeoutMs: number;
  readonly #tlsTimeoutMs: number;
  readonly #resolve: (host: string) => Promise<readonly string[]>;

  constructor(options: OutboundOptions) {
    this.#policy = options.policy;
    this.#trust = options.trust;
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 10_000;
    this.#tlsTimeoutMs = options.tlsTimeoutMs ?? 10_000;
    this.#resolve = options.resolve ?? resolveWithSystem;
  }

  /** The policy, for whoever listens and must not be dialled. */
  get policy(): NetworkPolicy {
    return this.#policy;
  }

  /** @throws {UpstreamFailed} `dns_failed`, `blocked_by_network_policy`, `connect_refused`, `connect_timeout`, `connect_failed`. */
  async connect(target: Authority): Promise<Socket> {
    const addresses = await this.#checkedAddresses(target);
    let failure: unknown;
    for (const address of addresses) {
      try {
        return await this.#dial(address, target);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** As `connect`, with TLS; also @throws {UpstreamFailed} `tls_verification_failed`, `tls_failed`, `tls_timeout`. */
  async connectTls(target: Authority, sessions: SessionStore): Promise<TLSSocket> {
    const socket = await this.connect(target);
    return await new Promise((resolve, reject) => {
      const fail = (error: UpstreamFailed) => {
        clearTimeout(timer);
        sessions.session = undefined;
        secure.destroy();
        socket.destroy();
        reject(error);
      };
      const timer = setTimeout(() => {
        fail(
          failed("tls_timeout", `${formatAuthority(target)} did not complete the TLS handshake in time`, {
            status: 504,
          }),
        );
      }, this.#tlsTimeoutMs);
      const secure = connectTls({
        socket,
        secureContext: this.#trust,
        ALPNProtocols: ["http/1.1"],
        rejectUnauthorized: true,
        ...(isIpLiteral(target.host) ? { host: target.host } : { host: target.host, servername: target.host }),
        ...(sessions.session ? { session: sessions.session } : {}),
      });
      const onError = (cause: Error) => fail(describeTlsFailure(target, cause));
      secure.once("error", onError);
      const onClose = () => fail(failed("tls_failed", `${formatAuthority(target)} closed during the TLS handshake`));
      secure.once("close", onClose);
      secure.on("session", (session: Buffer) => {
        sessions.session = session;
      });
      secure.once("secureConnect", () => {
        clearTimeout(timer);
        if (!secure.authorized) {
          fail(failed("tls_verification_failed", `The certificate of ${formatAuthority(target)} is not trusted`));
          return;
        }
        secure.removeListener("error", onError);
        secure.removeListener("close", onClose);
        resolve(secure);
      });
    });
  }

  async #checkedAddresses(target: Authority): Promise<readonly string[]> {
    const addresses = isIpLiteral(target.host) ? [target.host] : await this.#lookup(target);
    for (const address of addresses) this.#check(address, target);
    return addresses;
  }

  /** One bad answer refuses the name: it is either under attack or misconfigured. */
  #check(address: string, target: Authority): void {
    const denial = this.#policy.denies(address, target.port);
    if (!denial) return;
    throw failed(
      "blocked_by_network_policy",
      `The network policy does not allow ${formatAuthority(target)}: ${reasons[denial]}`,
      {
        hint: "An operator can open private networks with AGENT_VAULT_NETWORK_ALLOWLIST or AGENT_VAULT_ALLOW_PRIVATE_RANGES",
      },
    );
  }

  async #lookup(target: Authority): Promise<readonly string[]> {
    const timer = Promise.withResolvers<never>();
    const timeout = setTimeout(
      () => timer.reject(failed("dns_failed", `${target.host} was not resolved in time`, { status: 504 })),
      this.#connectTimeoutMs,
    );
    try {
      const addresses = await Promise.race([this.#resolve(target.host), timer.promise]);
      if (addresses.length === 0) throw failed("dns_failed", `${target.host} has no address`);
      return addresses;
    } catch (cause) {
      if (cause instanceof UpstreamFailed) throw cause;
      throw failed("dns_failed", `${target.host} could not be resolved`, { cause });
    } finally {
      clearTimeout(timeout);
    }
  }

  #dial(address: string, target: Authority): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connectTcp({
        host: address,
        port: target.port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 30_000,
      });
      const fail = (error: UpstreamFailed) => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const timer = setTimeout(() => {
        fail(
          failed("connect_timeout", `${formatAuthority(target)} did not accept the connection in time`, {
            status: 504,
          }),
        );
      }, this.#connectTimeoutMs);
      const onError = (cause: NodeJS.ErrnoException) => {
        fail(
          cause.code === "ECONNREFUSED"
            ? failed("connect_refused", `${formatAuthority(target)} refused the connection`, { cause })
            : failed("connect_failed", `${formatAuthority(target)} could not be reached`, { cause }),
        );
      };
      socket.once("error", onError);
      socket.once("connect", () => {
        clearTimeout(timer);
        socket.removeListener("error", onError);
        socket.setNoDelay(true);
        try {
          // What was dialled is what was checked; a rewriting firewall or a runtime's own idea of the name is not.
          this.#check(socket.remoteAddress ?? "", target);
          resolve(socket);
        } catch (error) {
          socket.destroy();
          reject(error);
        }
      });
    });
  }
}

const reasons = {
  metadata_service: "it is a cloud metadata service",
  own_listener: "it is this server itself",
  special_address: "its address is private or reserved",
  not_an_address: "its address is not understood",
} as const;

async function resolveWithSystem(host: string): Promise<readonly string[]> {
  const answers = await lookup(host, { all: true });
  return answers.map(({ address }) => address);
}

/** OpenSSL's and the runtimes' codes for a certificate that does not hold. */
const verificationCode = /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|HOSTNAME|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH/;

function describeTlsFailure(target: Authority, cause: NodeJS.ErrnoException): UpstreamFailed {
  const code = cause.code ?? "";
  if (verificationCode.test(code)) {
    return failed("tls_verification_failed", `The certificate of ${formatAuthority(target)} is not valid: ${code}`, {
      cause,
      hint: "An operator can add a root with AGENT_VAULT_UPSTREAM_CA_FILE",
    });
  }
  return failed("tls_failed", `The TLS handshake with ${formatAuthority(target)} failed`, { cause });
}

function failed(
  code: string,
  message: string,
  options: { status?: 502 | 504; cause?: unknown; hint?: string } = {},
): UpstreamFailed {
  return new UpstreamFailed(code, message, options);
}
