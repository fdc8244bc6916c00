/**
 * The API's route table. Routes are matched on the raw path, segment by segment (spec, section 1.4): a literal beats a
 * parameter, a parameter is exactly one decoded segment, and `{rest...}` at the end takes whatever is left.
 */
import type { Principal } from "../domain/actors/principal.ts";
import type { Caller } from "../domain/actors/session.ts";
import type { RouteContract } from "./openapi/contract.ts";
import { decodeSegment } from "./path.ts";

/** Names of the parameters of a path. */
export type ParamsOf<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `${infer Short}...` ? Short : Name) | ParamsOf<Rest>
  : never;

/** A request as a handler sees it: what its contract names, and who is asking. */
export interface ApiRequest<BodyValue = unknown, Query extends string = never, Params extends string = never> {
  /** @throws {Unauthenticated} on a public route that was called without a valid token. */
  readonly principal: Principal;
  /** The presented token, whether or not it is valid: only logout wants it. */
  readonly token: string | undefined;
  /** Who asks on a public route, if anybody. */
  findPrincipal(): Promise<Principal | undefined>;
  readonly params: Readonly<Record<Params, string>>;
  /** A query parameter; of a repeated one the first. */
  readonly query: (name: Query) => string | undefined;
  /**
   * The fields of the body: of its first JSON value, or of all of it where the contract says so.
   * @throws {InvalidInput} when there is none, it is malformed, or a field has a wrong type.
   * @throws {TooLarge} beyond 1 MiB.
   */
  body(): Promise<BodyValue>;
  /** Runs `wait` without holding one of the places for requests under way. @throws {RateLimited} when none is free again. */
  aside<T>(wait: () => Promise<T>): Promise<T>;
  /** Aborted when the caller goes away. */
  readonly signal: AbortSignal;
  readonly method: string;
  readonly headers: Headers;
  readonly clientIp: string;
  readonly requestId: string;
}

export function callerOf(request: ApiRequest): Caller {
  return { ip: request.clientIp, userAgent: request.headers.get("user-agent") ?? "" };
}

export type RouteHandler<BodyValue, Query extends string, Params extends string> = (
  request: ApiRequest<BodyValue, Query, Params>,
) => Promise<Response> | Response;

export interface Route {
  readonly method: string;
  readonly path: string;
  readonly contract: RouteContract;
  readonly handler: RouteHandler<unknown, string, string>;
}

export type RouteMatch =
  | { readonly kind: "route"; readonly route: Route; readonly params: Readonly<Record<string, string>> }
  | { readonly kind: "wrong-method"; readonly allow: readonly string[] }
  /** Only a subtree `path/` exists. */
  | { readonly kind: "add-slash" }
  | { readonly kind: "none" };

interface Node {
  readonly literals: Map<string, Node>;
  parameter: Node | undefined;
  /** Routes that end here, by method. */
  readonly routes: Map<string, Route>;
  /** Routes that take the rest of the path, by method. */
  readonly restRoutes: Map<string, Route>;
}

interface Candidate {
  readonly routes: ReadonlyMap<string, Route>;
  readonly values: readonly string[];
}

export class ApiRouter {
  readonly #root = newNode();
  readonly #routes: Route[] = [];

  /**
   * Adds a route; a GET route also answers HEAD.
   * @throws {Error} when the method and path are taken: two files claim one route.
   */
  on<Path extends string, BodyValue, Query extends string>(
    contract: RouteContract<Path, BodyValue, Query>,
    handler: RouteHandler<BodyValue, Query, ParamsOf<Path>>,
  ): void {
    const { method, path } = contract;
    // The router hands a handler the requests of its own contract only.
    const route = { method, path, contract, handler } as unknown as Route;
    let node = this.#root;
    let isRest = false;
    for (const segment of path.split("/").slice(1)) {
      if (/^\{\w+\.\.\.\}$/.test(segment)) {
        isRest = true;
      } else if (/^\{\w+\}$/.test(segment)) {
        node.parameter ??= newNode();
        node = node.parameter;
      } else {
        let child = node.literals.get(segment);
        if (child === undefined) {
          child = newNode();
          node.literals.set(segment, child);
        }
        node = child;
      }
    }
    const routes = isRest ? node.restRoutes : node.routes;
    if (routes.has(method)) throw new Error(`Route ${method} ${path} is registered twice`);
    routes.set(method, route);
    this.#routes.push(route);
  }

  /** Every route, for tests and documentation. */
  list(): readonly Route[] {
    return this.#routes;
  }

  /** @param path as on the wire, cleaned. */
  match(method: string, path: string): RouteMatch {
    const candidates: Candidate[] = [];
    collect(this.#root, path.split("/").slice(1), [], candidates);
    if (candidates.length === 0) return this.#hasSubtree(path) ? { kind: "add-slash" } : { kind: "none" };
    for (const { routes, values } of candidates) {
      const route = routes.get(method) ?? (method === "HEAD" ? routes.get("GET") : undefined);
      if (route !== undefined) return { kind: "route", route, params: nameParameters(route.path, values) };
    }
    const allowed = new Set(candidates.flatMap(({ routes }) => [...routes.keys()]));
    if (allowed.has("GET")) allowed.add("HEAD");
    return { kind: "wrong-method", allow: [...allowed].sort() };
  }

  #hasSubtree(path: string): boolean {
    if (path.endsWith("/")) return false;
    const candidates: Candidate[] = [];
    collect(this.#root, `${path}/`.split("/").slice(1), [], candidates);
    return candidates.length > 0;
  }
}

function newNode(): Node {
  return { literals: new Map(), parameter: undefined, routes: new Map(), restRoutes: new Map() };
}

/** Everything that matches, most specific first. */
function collect(node: Node, segments: readonly string[], values: readonly string[], found: Candidate[]): void {
  const [segment, ...others] = segments;
  if (segment === undefined) {
    if (node.routes.size > 0) found.push({ routes: node.routes, values });
    return;
  }
  const decoded = decodeSegment(segment);
  const literal = node.literals.get(decoded);
  if (literal !== undefined) collect(literal, others, values, found);
  if (node.parameter !== undefined && segment !== "") collect(node.parameter, others, [...values, decoded], found);
  if (node.restRoutes.size > 0) {
    found.push({ routes: node.restRoutes, values: [...values, segments.map(decodeSegment).join("/")] });
  }
}

function nameParameters(path: string, values: readonly string[]): Readonly<Record<string, string>> {
  const names = [...path.matchAll(/\{(\w+)(?:\.\.\.)?\}/g)].map((match) => match[1] ?? "");
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""]));
}
