/**
 * An OAuth provider as strict ones are, over TLS: authorization code with PKCE, one use per code, refresh tokens that
 * rotate, and that end the whole connection when a used one comes again (RFC 9700, section 4.14.2).
 */
import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createSecureContext } from "node:tls";
import { Outbound } from "../../src/net/outbound.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";
import { TestAuthority } from "./test-authority.ts";

export interface TokenRequest {
  readonly headers: IncomingMessage["headers"];
  readonly path: string;
  readonly form: URLSearchParams;
}

/** Answers in place of the provider; undefined lets it answer as it would. */
export type Misbehaviour = (request: TokenRequest, response: ServerResponse) => Promise<boolean> | boolean;

interface Grant {
  readonly challenge: string | null;
  readonly redirectUri: string;
  readonly scope: string;
}

interface Connection {
  isRevoked: boolean;
}

export class OAuthProvider implements AsyncDisposable {
  readonly host: string;
  readonly clientId = "client:1";
  readonly clientSecret = "s3cret &+%/ü";
  readonly tokenRequests: TokenRequest[] = [];
  /** Of tokens handed out from now on; undefined leaves `expires_in` out. */
  expiresInSeconds: number | string | undefined = 3600;
  /** More fields of an answer with tokens. */
  extra: Record<string, unknown> = {};
  rotates = true;
  misbehave: Misbehaviour | undefined;
  /** Refreshes that came with a refresh token that had been used before. */
  replays = 0;
  readonly authority: TestAuthority;
  readonly #server: ReturnType<typeof createServer>;
  readonly #codes = new Map<string, Grant>();
  readonly #refreshTokens = new Map<string, Connection>();
  readonly #usedRefreshTokens = new Map<string, Connection>();
  readonly #accessTokens = new Set<string>();

  private constructor(host: string, authority: TestAuthority, server: ReturnType<typeof createServer>) {
    this.host = host;
    this.authority = authority;
    this.#server = server;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response));
  }

  static async start(host = "idp.example.com"): Promise<OAuthProvider> {
    const authority = await TestAuthority.create("Test provider CA");
    const server = createServer(await authority.issue([host]));
    const provider = new OAuthProvider(host, authority, server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return provider;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get authorizationUrl(): string {
    return `https://${this.host}:${this.port}/authorize?tenant=a`;
  }

  get tokenUrl(): string {
    return `https://${this.host}:${this.port}/token`;
  }

  /** The way out of an instance that trusts this provider, where its name leads to this machine. */
  outbound(options: { allowPrivateRanges?: boolean; trusts?: boolean; addresses?: readonly string[] } = {}): Outbound {
    return new Outbound({
      policy: new NetworkPolicy({ allowPrivateRanges: options.allowPrivateRanges ?? true, allowlist: [] }),
      trust: createSecureContext({ ca: options.trusts === false ? [] : [this.authority.pem] }),
      resolve: async () => options.addresses ?? ["127.0.0.1"],
    });
  }

  /** What happens in the browser of somebody who consents: from the authorization URL to where it leads. */
  consent(authorizationUrl: string): URL {
    const { searchParams } = new URL(authorizationUrl);
    const asked = (name: string) => searchParams.get(name) ?? "";
    if (asked("response_type") !== "code" || asked("client_id") !== this.clientId) throw new Error(authorizationUrl);
    if (asked("tenant") !== "a") throw new Error("the configured query was lost");
    const code = `code-${randomBytes(12).toString("hex")}`;
    const challenge = searchParams.get("code_challenge");
    if (challenge !== null && asked("code_challenge_method") !== "S256") throw new Error("PKCE is not S256");
    this.#codes.set(code, { challenge, redirectUri: asked("redirect_uri"), scope: asked("scope") });
    const back = new URL(asked("redirect_uri"));
    back.searchParams.set("code", code);
    back.searchParams.set("state", asked("state"));
    return back;
  }

  /** A refresh token as if somebody had connected elsewhere. */
  mintRefreshToken(): string {
    const token = `rt-${randomBytes(12).toString("hex")}`;
    this.#refreshTokens.set(token, { isRevoked: false });
    return token;
  }

  accepts(accessToken: string): boolean {
    return this.#accessTokens.has(accessToken);
  }

  refreshes(): readonly TokenRequest[] {
    return this.tokenRequests.filter(({ form }) => form.get("grant_type") === "refresh_token");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part as Buffer);
    const form = new URLSearchParams(Buffer.concat(parts).toString());
    const request = { headers: incoming.headers, path: incoming.url ?? "", form };
    this.tokenRequests.push(request);
    if (await this.misbehave?.(request, response)) return;
    const answer = this.#answer(request);
    const isError = "error" in answer;
    response.writeHead(isError ? 400 : 200, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(JSON.stringify(answer));
  }

  #answer({ headers, form }: TokenRequest): Record<string, unknown> {
    if (form.get("client_id") !== this.clientId || !this.#isAuthenticated(headers, form)) {
      return { error: "invalid_client", error_description: `no client with ${form.get("client_secret")}` };
    }
    const connection = form.get("grant_type") === "authorization_code" ? this.#redeem(form) : this.#refresh(form);
    if (connection === undefined) {
      return { error: "invalid_grant", error_description: `not a grant: ${form.toString()}` };
    }
    const accessToken = `at-${randomBytes(12).toString("hex")}`;
    this.#accessTokens.add(accessToken);
    const isFirst = form.get("grant_type") === "authorization_code";
    const refreshToken = `rt-${randomBytes(12).toString("hex")}`;
    if (isFirst || this.rotates) this.#refreshTokens.set(refreshToken, connection);
    return {
      access_token: accessToken,
      token_type: "Bearer",
      ...((isFirst || this.rotates) && { refresh_token: refreshToken }),
      ...(this.expiresInSeconds !== undefined && { expires_in: this.expiresInSeconds }),
      ...this.extra,
    };
  }

  #isAuthenticated(headers: IncomingMessage["headers"], form: URLSearchParams): boolean {
    if (form.has("client_secret")) return form.get("client_secret") === this.clientSecret;
    const basic = Buffer.from((headers.authorization ?? "").replace(/^Basic /, ""), "base64").toString();
    const [id = "", secret = ""] = basic.split(":").map((part) => decodeURIComponent(part.replaceAll("+", " ")));
    return id === this.clientId && secret === this.clientSecret;
  }

  #redeem(form: URLSearchParams): Connection | undefined {
    const code = form.get("code") ?? "";
    const grant = this.#codes.get(code);
    this.#codes.delete(code);
    if (grant === undefined || form.get("redirect_uri") !== grant.redirectUri) return undefined;
    const challenge = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    if (grant.challenge !== null && grant.challenge !== challenge) return undefined;
    return { isRevoked: false };
  }

  #refresh(form: URLSearchParams): Connection | undefined {
    const token = form.get("refresh_token") ?? "";
    const used = this.#usedRefreshTokens.get(token);
    if (used !== undefined) {
      this.replays += 1;
      used.isRevoked = true;
      return undefined;
    }
    const connection = this.#refreshTokens.get(token);
    if (connection === undefined || connection.isRevoked) return undefined;
    if (this.rotates) {
      this.#refreshTokens.delete(token);
      this.#usedRefreshTokens.set(token, connection);
    }
    return connection;
  }
}
