import type { ScopeLease, ScopeResolver } from "../domain/actors/scope.ts";
import { RateLimited, Unauthenticated } from "../errors.ts";
import type { Soon } from "../storage/ephemeral.ts";
import { isOnThisMachine } from "./peer.ts";

/** Who is behind a connection: `Proxy-Authorization` to a scope (spec of the proxy, sections 7 to 9). */

export interface ProxyCredentials {
  readonly token: string;
  readonly vaultHint: string | undefined;
}

/** Counts the wrong tokens of an address. Loopback is never asked about: containers arrive from there through a relay. */
export interface AuthFailures {
  /** Seconds to wait, when there were too many. */
  check(ip: string): Soon<number | undefined>;
  record(ip: string): Soon<void>;
}

/** The value of `Proxy-Authorization`; undefined for anything that is no token. */
export function parseProxyAuthorization(value: string): ProxyCredentials | undefined {
  const space = value.indexOf(" ");
  if (space === -1) return undefined;
  const scheme = value.slice(0, space).toLowerCase();
  const rest = value.slice(space + 1).trim();
  if (scheme === "bearer") return rest === "" ? undefined : { token: rest, vaultHint: undefined };
  if (scheme !== "basic" || !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(rest))
    return undefined;
  const decoded = Buffer.from(rest, "base64").toString("utf8");
  if (/\p{Cc}/u.test(decoded)) return undefined; // RFC 7617, section 2
  const colon = decoded.indexOf(":");
  const token = colon === -1 ? decoded : decoded.slice(0, colon);
  const vaultHint = colon === -1 ? "" : decoded.slice(colon + 1);
  return token === "" ? undefined : { token, vaultHint: vaultHint === "" ? undefined : vaultHint };
}

export interface AuthenticatorOptions {
  readonly scopes: ScopeResolver;
  readonly authFailures?: AuthFailures | undefined;
}

export class Authenticator {
  readonly #scopes: ScopeResolver;
  readonly #failures: AuthFailures | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#scopes = options.scopes;
    this.#failures = options.authFailures;
  }

  /**
   * @param value of `Proxy-Authorization`.
   * @throws {Unauthenticated} without a usable token; a missing one is a free challenge, a wrong one is counted.
   * @throws {RateLimited} when this address has tried too many wrong ones.
   * @throws what `ScopeResolver.resolve` throws.
   */
  async authenticate(value: string | undefined, clientIp: string): Promise<ScopeLease> {
    const failures = this.#countsFor(clientIp);
    const retryAfterSeconds = await failures?.check(clientIp);
    if (retryAfterSeconds !== undefined) {
      throw new RateLimited("too_many_requests", "Too many wrong tokens came from this address", { retryAfterSeconds });
    }
    if (value === undefined) {
      throw new Unauthenticated(
        "proxy_auth_required",
        "The proxy needs a token: http://<token>:<vault>@<proxy host>:<port>",
      );
    }
    const credentials = parseProxyAuthorization(value);
    try {
      if (credentials) return await this.#scopes.resolve(credentials.token, credentials.vaultHint);
      throw new Unauthenticated("invalid_token", "Proxy-Authorization must be Bearer <token> or Basic <token>:<vault>");
    } catch (error) {
      if (error instanceof Unauthenticated) await failures?.record(clientIp);
      throw error;
    }
  }

  #countsFor(clientIp: string): AuthFailures | undefined {
    return this.#failures && isOnThisMachine(clientIp) ? undefined : this.#failures;
  }
}
