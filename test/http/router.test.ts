import { describe, expect, it } from "vitest";
import type { RouteContract } from "../../src/http/openapi/contract.ts";
import { ApiRouter, type RouteMatch } from "../../src/http/router.ts";
import { plainRoute } from "../support/plain-route.ts";

const options = { access: "public", tier: "global" } as const;

function routerOf(...routes: readonly string[]): ApiRouter {
  const router = new ApiRouter();
  for (const route of routes) {
    const [method = "", path = ""] = route.split(" ");
    router.on(plainRoute(method as RouteContract["method"], path, options), () => new Response());
  }
  return router;
}

function summary(match: RouteMatch): unknown {
  if (match.kind === "route") return [match.route.path, match.params];
  return match.kind === "wrong-method" ? match.allow : match.kind;
}

const api = routerOf(
  "GET /health",
  "GET /v1/vaults",
  "POST /v1/vaults",
  "GET /v1/vaults/{name}/services",
  "PATCH /v1/vaults/{name}/services/{host}",
  "GET /v1/proposals/{id}",
  "DELETE /v1/proposals/{id}",
  "GET /v1/proposals/approve-details",
  "GET /vaults/{rest...}",
  "GET /",
);

describe("the route table", () => {
  it.each([
    ["GET", "/health", ["/health", {}], "a literal path"],
    ["HEAD", "/health", ["/health", {}], "HEAD is answered by GET"],
    ["GET", "/", ["/", {}], "the root"],
    ["GET", "/v1/vaults/%76ault/services", ["/v1/vaults/{name}/services", { name: "vault" }], "parameters are decoded"],
    ["GET", "/v1/%76aults", ["/v1/vaults", {}], "literals are compared after decoding"],
    ["GET", "/V1/vaults", "none", "literals are case-sensitive"],
    [
      "PATCH",
      "/v1/vaults/a/services/slack.com%2Fapi%2F*",
      ["/v1/vaults/{name}/services/{host}", { name: "a", host: "slack.com/api/*" }],
      "an encoded slash stays inside its segment",
    ],
    ["GET", "/v1/vaults/%2e%2e/services", ["/v1/vaults/{name}/services", { name: ".." }], "encoded dots are data"],
    ["GET", "/v1/proposals/approve-details", ["/v1/proposals/approve-details", {}], "a literal beats a parameter"],
    [
      "DELETE",
      "/v1/proposals/approve-details",
      ["/v1/proposals/{id}", { id: "approve-details" }],
      "a literal for another method does not hide the parameter",
    ],
    ["POST", "/v1/proposals/7", ["DELETE", "GET", "HEAD"], "a wrong method names the right ones"],
    ["OPTIONS", "/v1/vaults", ["GET", "HEAD", "POST"], "there is no preflight"],
    ["GET", "/v1/vaults/", "none", "a trailing slash is another path"],
    ["GET", "/v1/vaults//services", "none", "a parameter is never empty"],
    ["GET", "/vaults/a/b", ["/vaults/{rest...}", { rest: "a/b" }], "a rest parameter takes all"],
    ["GET", "/vaults", "add-slash", "a subtree without its slash"],
    ["GET", "/nope", "none", "nothing there"],
  ])("%s %s: %4$s", (method, path, expected, _because) => {
    expect(summary(api.match(method, path))).toEqual(expected);
  });

  it("refuses two routes for one method and path", () => {
    expect(() => routerOf("GET /a", "GET /a")).toThrow("registered twice");
  });
});
