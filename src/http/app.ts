/**
 * The management API as an h3 app. The order of the layers is the specification's (accounts, section 1.5): security
 * headers, global limit, host, route, origin, init gate, authentication, the route's limit, the handler. h3 serves and runs the
 * middleware; routes are matched by `router.ts` on the raw path, because h3 decodes before it matches.
 */
import { H3, serve } from "h3/node";
import { randomHex, tokenDigest } from "../crypto/token.ts";
import type { Principal } from "../domain/actors/principal.ts";
import type { Caller } from "../domain/actors/session.ts";
import { type Limits, TooManyRequests, tooManyRequests } from "../domain/limits/tiers.ts";
import { messageOf, TooLarge, Unauthenticated, Unavailable } from "../errors.ts";
import type { Logger } from "../log.ts";
import { limitKeyOf } from "../net/address.ts";
import { CounterSet } from "../runtime/metrics.ts";
import type { Soon, Verdict } from "../storage/ephemeral.ts";
import { text } from "./answer.ts";
import type { Presented, SessionCookie } from "./authenticate.ts";
import { ClientAddress, checkOrigin, securityHeaders } from "./guard.ts";
import type { HostCheck } from "./host-check.ts";
import { readJson } from "./json-body.ts";
import type { RouteContract } from "./openapi/contract.ts";
import { cleanPath, hasMalformedEscape, parseQuery, splitTarget } from "./path.ts";
import { Place } from "./place.ts";
import { renderError } from "./render-error.ts";
import type { ApiRequest, ApiRouter, Route } from "./router.ts";

export interface AppOptions {
  readonly router: ApiRouter;
  readonly sessions: {
    /** @throws {Unauthenticated} unknown or expired. */
    authenticate(token: string, clientIp: string): Promise<Principal>;
    /** Notes that a login session was used; it never fails the request. */
    touch(principal: Principal, caller: Caller): void;
  };
  readonly accounts: { isInitialized(): Promise<boolean> };
  readonly limits: Limits;
  /** Where people reach the API. */
  readonly baseUrl: string;
  readonly trustedProxies: readonly string[];
  readonly hostCheck: HostCheck;
  readonly cookie: SessionCookie;
  readonly log: Logger;
}

/** One request as it arrived, before any route was chosen. */
interface Incoming {
  readonly method: string;
  /** As on the wire. */
  readonly target: string;
  readonly headers: Headers;
  readonly body: () => ReadableStream<Uint8Array> | null;
  readonly peer: string;
  readonly requestId: string;
  /** Aborted when the caller goes away. */
  readonly signal: AbortSignal;
}

export class ApiApp {
  readonly #options: AppOptions;
  readonly #clientAddress: ClientAddress;
  readonly #securityHeaders: Readonly<Record<string, string>>;
  /** Requests answered since the start, by class of status. */
  readonly answered = new CounterSet("status");

  constructor(options: AppOptions) {
    this.#options = options;
    this.#clientAddress = new ClientAddress(options.trustedProxies);
    this.#securityHeaders = securityHeaders(options.baseUrl);
  }

  /** Every route, for tests. */
  get routes(): readonly Route[] {
    return this.#options.router.list();
  }

  /** Answers one request. Never throws. */
  async handle(incoming: Incoming): Promise<Response> {
    const { path, query } = splitTarget(incoming.target);
    if (hasMalformedEscape(path)) {
      return text("400 Bad Request", { status: 400, headers: { connection: "close" } });
    }
    const response = await this.#route(incoming, path, query).catch((error: unknown) => this.#refuse(incoming, error));
    this.answered.raise(`${Math.trunc(response.status / 100)}xx`);
    for (const [name, value] of Object.entries(this.#securityHeaders)) {
      // A page that brings a policy of its own brings a stricter one.
      if (!response.headers.has(name)) response.headers.set(name, value);
    }
    return response;
  }

  /** Something went wrong at the listening socket itself, not in a request. */
  reportListenerFailure(error: Error): void {
    this.#options.log.warn("the API's listener failed", { error: messageOf(error) });
  }

  async #route(incoming: Incoming, path: string, query: string): Promise<Response> {
    const place = await Place.take(this.#options.limits);
    try {
      this.#options.hostCheck.require(incoming.headers.get("host"), incoming.peer);
      const cleaned = cleanPath(path);
      if (cleaned !== path) return redirect(cleaned, query);
      const match = this.#options.router.match(incoming.method, path);
      switch (match.kind) {
        case "none":
          return text("404 page not found", { status: 404 });
        case "add-slash":
          return redirect(`${path}/`, query);
        case "wrong-method":
          return text("Method Not Allowed", { status: 405, headers: { allow: match.allow.join(", ") } });
        case "route":
          return await this.#run({ incoming, place }, match.route, match.params, query);
      }
    } finally {
      place.leave();
    }
  }

  async #run(
    { incoming, place }: { readonly incoming: Incoming; readonly place: Place },
    route: Route,
    params: Readonly<Record<string, string>>,
    query: string,
  ): Promise<Response> {
    const { contract } = route;
    const presented = this.#options.cookie.presented(incoming.headers);
    checkOrigin({
      method: incoming.method,
      headers: incoming.headers,
      usesCookie: presented?.from === "cookie",
      always: contract.checksOrigin ?? false,
      isForSession: contract.access === "session",
      baseUrl: this.#options.baseUrl,
    });
    if ((contract.initGate ?? true) && !(await this.#options.accounts.isInitialized())) throw notInitialized();
    const clientIp = this.#clientAddress.of(incoming.peer, incoming.headers.get("x-forwarded-for"));
    const principal =
      contract.access === "session" ? await this.#authenticate(presented, incoming.headers, clientIp) : undefined;
    const parameters = parseQuery(query);
    const verdict = await this.#limit(route, {
      clientIp,
      principal,
      token: params.token ?? parameters.get("token") ?? "",
    });
    if (verdict?.isAllowed === false) throw tooManyRequests(verdict);
    const request = new IncomingApiRequest({
      incoming,
      place,
      contract,
      params,
      parameters,
      clientIp,
      principal,
      presented,
      find: () => this.#find(presented, clientIp),
    });
    const response = await this.#answer(route, request);
    if (verdict !== undefined) setLimitHeaders(response, verdict);
    // The route, not the path: paths hold the tokens of invitations.
    this.#options.log.debug("API request", {
      requestId: incoming.requestId,
      method: incoming.method,
      route: route.path,
      status: response.status,
      session: principal?.sessionId,
      clientIp,
    });
    return response;
  }

  /** The handler's answer, or its error as one: both then carry the limit's headers. */
  async #answer(route: Route, request: IncomingApiRequest): Promise<Response> {
    try {
      return await route.handler(request);
    } catch (error) {
      if (error instanceof TooManyRequests) throw error;
      const answer = renderError(error, request.requestId, this.#options.log);
      // The rest of such a body is not worth reading.
      if (error instanceof TooLarge) answer.headers.set("connection", "close");
      return answer;
    }
  }

  async #authenticate(presented: Presented | undefined, headers: Headers, ip: string): Promise<Principal> {
    if (presented === undefined) throw new Unauthenticated("authorization_required", "Authorization required");
    const principal = await this.#options.sessions.authenticate(presented.token, ip);
    this.#options.sessions.touch(principal, { ip, userAgent: headers.get("user-agent") ?? "" });
    return principal;
  }

  async #find(presented: Presented | undefined, clientIp: string): Promise<Principal | undefined> {
    if (presented === undefined) return undefined;
    try {
      return await this.#options.sessions.authenticate(presented.token, clientIp);
    } catch (error) {
      if (error instanceof Unauthenticated) return undefined;
      throw error;
    }
  }

  #limit(
    route: Route,
    by: { readonly clientIp: string; readonly principal: Principal | undefined; readonly token: string },
  ): Soon<Verdict> | undefined {
    const { limits } = this.#options;
    switch (route.contract.tier) {
      case "global":
        return undefined;
      case "auth-ip":
        return limits.recordAuth(`ip:${limitKeyOf(by.clientIp)}`);
      case "auth-token":
        // Per token: 256 bits are not guessed, and one link that is reloaded must not block the others.
        if (by.token === "") return undefined;
        return limits.recordAuth(`ipt:${limitKeyOf(by.clientIp)}:${tokenDigest(by.token).slice(0, 16)}`);
      case "authed":
        return by.principal === undefined ? undefined : limits.takeAuthed(actorKey(by.principal));
    }
  }

  #refuse(incoming: Incoming, error: unknown): Response {
    const response = renderError(error, incoming.requestId, this.#options.log);
    if (error instanceof TooManyRequests) setLimitHeaders(response, error.verdict);
    return response;
  }
}

/** Scoped tokens are limited one by one. */
function actorKey(principal: Principal): string {
  if (principal.kind === "scoped") return `session:${principal.sessionId}`;
  return `actor:${principal.kind === "user" ? "u" : "a"}:${principal.id}`;
}

function setLimitHeaders(response: Response, verdict: Verdict): void {
  if (verdict.limit === 0) return;
  response.headers.set("x-ratelimit-limit", String(verdict.limit));
  response.headers.set("x-ratelimit-remaining", String(verdict.remaining));
}

function notInitialized(): Unavailable {
  return new Unavailable("not_initialized", "This instance has no owner yet; register the first account", {
    hint: "agent-vault auth register",
  });
}

function redirect(path: string, query: string): Response {
  // Browsers take a backslash for a slash, so that `/\\host` would name another host.
  const inside = path.replaceAll("\\", "%5C");
  const location = query === "" ? inside : `${inside}?${query}`;
  return text("Temporary Redirect", { status: 307, headers: { location } });
}

interface RequestParts {
  readonly incoming: Incoming;
  readonly place: Place;
  readonly contract: RouteContract;
  readonly params: Readonly<Record<string, string>>;
  readonly parameters: ReadonlyMap<string, string>;
  readonly clientIp: string;
  readonly principal: Principal | undefined;
  readonly presented: Presented | undefined;
  readonly find: () => Promise<Principal | undefined>;
}

class IncomingApiRequest implements ApiRequest<unknown, string, string> {
  readonly params: Readonly<Record<string, string>>;
  readonly clientIp: string;
  readonly #parts: RequestParts;

  constructor(parts: RequestParts) {
    this.params = parts.params;
    this.clientIp = parts.clientIp;
    this.#parts = parts;
  }

  get principal(): Principal {
    if (this.#parts.principal === undefined) {
      throw new Unauthenticated("authorization_required", "Authorization required");
    }
    return this.#parts.principal;
  }

  get token(): string | undefined {
    return this.#parts.presented?.token;
  }

  get method(): string {
    return this.#parts.incoming.method;
  }

  get headers(): Headers {
    return this.#parts.incoming.headers;
  }

  get requestId(): string {
    return this.#parts.incoming.requestId;
  }

  findPrincipal(): Promise<Principal | undefined> {
    return this.#parts.find();
  }

  readonly query = (name: string): string | undefined => {
    const { contract, parameters } = this.#parts;
    // A helper that is shared by routes could ask for what this one does not have.
    if (contract.query === undefined || !Object.hasOwn(contract.query, name)) {
      throw new Error(`${contract.operation} reads the query parameter ${name}, which its contract does not name`);
    }
    return parameters.get(name);
  };

  async body(): Promise<unknown> {
    const { contract, incoming } = this.#parts;
    if (contract.body === undefined) throw new Error(`${contract.operation} reads a body that its contract lacks`);
    return contract.body.parse(await readJson(incoming.body(), { isAll: contract.body.isWhole }));
  }

  aside<T>(wait: () => Promise<T>): Promise<T> {
    return this.#parts.place.aside(wait);
  }

  get signal(): AbortSignal {
    return this.#parts.incoming.signal;
  }
}

export interface ApiListener {
  readonly port: number;
  /** Stops accepting, waits for answers under way, then closes what is left. */
  close(options: { readonly graceMs: number }): Promise<void>;
}

/** A peer gets this long for its head, its whole request, and its silence between two requests. */
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 30_000;
const idleTimeoutMs = 120_000;
/** How often connections without a request are closed while the server stops. */
const sweepMs = 100;
/** How often those are looked at; node's 30 s would double them. */
const timeoutCheckMs = 2_000;

/**
 * Listens. `h3/node` on every runtime: only node:http shows the path as it was sent, and routing depends on it.
 * @throws {Error} with `code` EADDRINUSE and the like when the port cannot be had.
 */
export async function startApi(
  app: ApiApp,
  options: { readonly host: string; readonly port: number },
): Promise<ApiListener> {
  // Escapes are judged in `handle`: h3 would answer in its own words, and refuse bytes that are not UTF-8.
  const h3 = new H3({ silent: true, allowMalformedURL: true });
  h3.use((event) => {
    const request = event.req;
    const node = request.runtime?.node;
    return app.handle({
      method: request.method,
      target: node?.req.url ?? new URL(request.url).pathname,
      headers: request.headers,
      body: () => request.body,
      peer: node?.req.socket?.remoteAddress ?? "",
      requestId: randomHex(8),
      signal: request.signal,
    });
  });
  const server = serve(h3, {
    port: options.port,
    hostname: options.host,
    silent: true,
    gracefulShutdown: false,
    node: {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: idleTimeoutMs,
      connectionsCheckingInterval: timeoutCheckMs,
    },
  });
  await server.ready();
  // A connection that could not be accepted (no descriptors left) is no reason to end.
  server.node?.server?.on("error", (error: Error) => app.reportListenerFailure(error));
  const address = server.node?.server?.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    async close({ graceMs }) {
      const timer = setTimeout(() => void server.close(true), graceMs);
      // A connection whose answer ends only now (a stream) is idle from then on, and would be waited for.
      const sweep = setInterval(() => {
        const { server: listener } = server.node ?? {};
        if (listener && "closeIdleConnections" in listener) listener.closeIdleConnections();
      }, sweepMs);
      try {
        await server.close(false);
      } finally {
        clearTimeout(timer);
        clearInterval(sweep);
      }
    },
  };
}
