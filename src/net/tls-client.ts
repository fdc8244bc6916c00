import type { Socket } from "node:net";
import { connect, type SecureContext, type TLSSocket } from "node:tls";
import type { UpstreamFailed } from "../errors.ts";
import { type Authority, formatAuthority, isIpLiteral } from "./address.ts";
import { failed } from "./dial-failure.ts";

/** TLS towards a server whose certificate is always verified; sessions that are resumed only where that is safe. */

/** A TLS session kept from an earlier connection to the same origin for the same vault, to resume. */
export interface SessionStore {
  session: Buffer | undefined;
}

export interface Handshake {
  readonly target: Authority;
  /** Whose connection it is; undefined for the instance's own. */
  readonly vaultId?: string | undefined;
  readonly context: SecureContext;
  readonly sessions: SessionStore;
  readonly timeoutMs: number;
  /** What we speak, best first (RFC 7301). */
  readonly protocols: readonly string[];
}

/** What all sessions of one connection stand for. */
interface Verified {
  readonly vaultId: string | undefined;
  readonly context: SecureContext;
  /** When the certificate was last looked at. */
  atMs: number;
}

/**
 * For whom and under which roots a session was made. A server can tell a resumed session from a new one, and may tie
 * state to it, so no vault resumes another's. A resumed handshake shows no certificate, so a session must not outlive
 * the trust it was made under, nor the certificate by long.
 */
const verifications = new WeakMap<Buffer, Verified>();
const sessionMaxAgeMs = 60 * 60_000;

/**
 * Speaks TLS on a connected socket, which it takes over.
 *
 * @throws {UpstreamFailed} `tls_verification_failed`, `tls_failed`, `tls_timeout`; the socket is then destroyed.
 */
export function secure(socket: Socket, handshake: Handshake): Promise<TLSSocket> {
  const { target, vaultId, context, sessions, timeoutMs, protocols } = handshake;
  return new Promise((resolve, reject) => {
    const resumed = resumable(handshake);
    const fail = (error: UpstreamFailed) => {
      clearTimeout(timer);
      sessions.session = undefined;
      tls.destroy();
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => {
      const message = `${formatAuthority(target)} did not complete the TLS handshake in time`;
      fail(failed("tls_timeout", message, { status: 504 }));
    }, timeoutMs);
    const tls = connect({
      socket,
      secureContext: context,
      ALPNProtocols: [...protocols],
      rejectUnauthorized: true,
      ...(isIpLiteral(target.host) ? { host: target.host } : { host: target.host, servername: target.host }),
      ...(resumed ? { session: resumed } : {}),
    });
    const onError = (cause: Error) => fail(describeFailure(target, cause));
    tls.once("error", onError);
    const onClose = () => fail(failed("tls_failed", `${formatAuthority(target)} closed during the TLS handshake`));
    tls.once("close", onClose);
    // Tickets may come before the handshake is reported and at any time after; none counts before the certificate did.
    const verified: Verified = { vaultId, context, atMs: performance.now() };
    let early: Buffer | undefined;
    let isVerified = false;
    const keep = (session: Buffer) => {
      verifications.set(session, verified);
      sessions.session = session;
    };
    tls.on("session", (session: Buffer) => {
      if (isVerified) keep(session);
      else early = session;
    });
    tls.once("secureConnect", () => {
      clearTimeout(timer);
      if (!tls.authorized) {
        fail(failed("tls_verification_failed", `The certificate of ${formatAuthority(target)} is not trusted`));
        return;
      }
      isVerified = true;
      if (resumed && tls.isSessionReused())
        verified.atMs = verifications.get(resumed)?.atMs ?? Number.NEGATIVE_INFINITY;
      if (early) keep(early);
      // The new owner hears of errors as it hears of the end; until it listens, none may be thrown into the void.
      tls.on("error", ignore);
      tls.removeListener("error", onError);
      tls.removeListener("close", onClose);
      resolve(tls);
    });
  });
}

const ignore = () => undefined;

function resumable({ sessions: { session }, vaultId, context }: Handshake): Buffer | undefined {
  const verified = session && verifications.get(session);
  if (!verified || verified.context !== context || verified.vaultId !== vaultId) return undefined;
  return performance.now() - verified.atMs < sessionMaxAgeMs ? session : undefined;
}

/** OpenSSL's and the runtimes' codes for a certificate that does not hold. */
const verificationCode = /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|HOSTNAME|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH/;

function describeFailure(target: Authority, cause: NodeJS.ErrnoException): UpstreamFailed {
  const code = cause.code ?? "";
  if (verificationCode.test(code)) {
    return failed("tls_verification_failed", `The certificate of ${formatAuthority(target)} is not valid: ${code}`, {
      cause,
      hint: "An operator can add a root with AGENT_VAULT_UPSTREAM_CA_FILE, an admin of the vault with its setting upstream_ca",
    });
  }
  return failed("tls_failed", `The TLS handshake with ${formatAuthority(target)} failed`, { cause });
}
