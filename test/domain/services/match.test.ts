import { describe, expect, it } from "vitest";
import { parseService } from "../../../src/domain/services/definition.ts";
import { compileMatcher } from "../../../src/domain/services/match.ts";
import type { Service } from "../../../src/domain/services/service.ts";
import type { Target } from "../../../src/domain/vaults/snapshot.ts";

const bearer = { type: "bearer", token: "TOK" };

/** Services named one, two, three … in the order given. */
function services(...definitions: (string | Record<string, unknown>)[]): readonly Service[] {
  const names = ["one", "two", "three", "four"];
  return definitions.map((definition, index) => {
    const entry = typeof definition === "string" ? { host: definition } : definition;
    return parseService({ name: names[index], auth: bearer, ...entry }, { allowsInternalNames: false });
  });
}

function outcome(list: readonly Service[], url: string, method = "GET"): string {
  const [, scheme, host, port, path] = /^(https?):\/\/([^/:]+)(?::(\d+))?(.*)$/s.exec(url) ?? [];
  const target: Target = {
    scheme: scheme === "http" ? "http" : "https",
    host: host ?? "",
    port: Number(port ?? (scheme === "http" ? 80 : 443)),
    path: path ?? "",
    method,
  };
  const found = compileMatcher(list).match(target);
  return "service" in found ? `${found.kind} ${found.service.name}` : found.kind;
}

describe("a raw tunnel", () => {
  const raw = (host: string) => ({ host, auth: { type: "passthrough" }, raw: true });
  it.each([
    { list: [raw("a.x.com")], at: "a.x.com:443", is: "one", because: "the host is named" },
    { list: [raw("*.x.com")], at: "a.x.com:443", is: "one", because: "the host is covered" },
    { list: [raw("a.x.com:8443")], at: "a.x.com:443", is: undefined, because: "the port is another" },
    {
      list: [raw("*.x.com"), "a.x.com"],
      at: "a.x.com:443",
      is: undefined,
      because: "the host has a service of its own",
    },
    { list: ["*.x.com", raw("a.x.com")], at: "a.x.com:443", is: "two", because: "a wildcard comes last" },
    { list: [raw("a.x.com"), "a.x.com/v1/*"], at: "a.x.com:443", is: undefined, because: "some path is another's" },
    { list: ["a.x.com", raw("a.x.com")], at: "a.x.com:443", is: undefined, because: "the earlier one wins" },
    { list: [{ ...raw("a.x.com"), enabled: false }], at: "a.x.com:443", is: undefined, because: "it is off" },
    { list: ["a.x.com"], at: "a.x.com:443", is: undefined, because: "there is none" },
  ])("to $at belongs to $is: $because", ({ list, at, is }) => {
    const [host = "", port] = at.split(":");
    expect(compileMatcher(services(...list)).rawServiceFor(host, Number(port))?.name).toBe(is);
  });
});

describe("precedence", () => {
  it.each([
    {
      list: ["*.x.com/api/*", "api.x.com"],
      url: "https://api.x.com/api/v1",
      wins: "two",
      because: "exact host over wildcard",
    },
    {
      list: ["*.x.com/v1/long*", "api.x.com"],
      url: "https://api.x.com/v1/long/a",
      wins: "two",
      because: "host before path",
    },
    {
      list: ["slack.com/api/*", "slack.com/api/apps.connections.*"],
      url: "https://slack.com/api/apps.connections.open",
      wins: "two",
      because: "the longer literal path",
    },
    {
      list: ["slack.com/api/*", "slack.com/api/apps.connections.*"],
      url: "https://slack.com/api/chat.postMessage",
      wins: "one",
      because: "the other does not match",
    },
    { list: ["h.com", "h.com:3000"], url: "https://h.com:3000/", wins: "two", because: "its own port" },
    { list: ["h.com", "h.com:3000"], url: "https://h.com/", wins: "one", because: "the other port does not match" },
    { list: ["*.h.com:3000", "a.h.com"], url: "https://a.h.com:3000/", wins: "two", because: "host before port" },
    {
      list: ["h.com:3000", "h.com/very/long/*"],
      url: "https://h.com:3000/very/long/x",
      wins: "one",
      because: "port before path",
    },
    {
      list: ["h.com/api/*/v2", "h.com/api/*/v3"],
      url: "https://h.com/api/x/v3",
      wins: "two",
      because: "the only one that matches",
    },
    { list: ["h.com/a/*", "h.com/a/*"], url: "https://h.com/a/b", wins: "one", because: "earlier in the list" },
    { list: ["h.com/*", "h.com"], url: "https://h.com/a", wins: "one", because: "one literal byte beats none" },
    { list: ["h.com", "h.com/"], url: "https://h.com", wins: "two", because: "an empty path is /" },
  ])("$list: $url goes to $wins ($because)", ({ list, url, wins }) => {
    expect(outcome(services(...list), url)).toBe(`service ${wins}`);
  });

  it.each([
    { list: ["slack.com/api/*"], url: "https://slack.com/oauth/v2/authorize", because: "no path matches" },
    { list: ["slack.com/api/*"], url: "https://slack.com/api", because: "the slash is part of the prefix" },
    { list: ["*.h.com"], url: "https://h.com/", because: "a wildcard is not its own suffix" },
    { list: ["*.h.com"], url: "https://a.b.h.com/", because: "a wildcard is one label" },
    { list: ["*.h.com"], url: "https://.h.com/", because: "an empty label is none" },
    { list: ["h.com/api"], url: "https://h.com/api/", because: "no star means equality" },
    { list: ["h.com/api"], url: "https://h.com/api/x", because: "no star means equality" },
    { list: ["h.com:3000"], url: "https://h.com/", because: "another port" },
    { list: ["h.com/API/*"], url: "https://h.com/api/x", because: "paths are case-sensitive" },
    { list: ["h.com/a*bc*c"], url: "https://h.com/abc", because: "the last piece may not overlap the one before" },
  ])("$list does not match $url: $because", ({ list, url }) => {
    expect(outcome(services(...list), url)).toBe("none");
  });

  it.each(["/a-b-c", "/aXbYc", "/abc", "/abbc/b/c"])("a*b*c matches %s leftmost", (path) => {
    expect(outcome(services("h.com/a*b*c"), `https://h.com${path}`)).toBe("service one");
  });

  it("stays quick on a pattern that makes a regular expression backtrack", () => {
    const list = services(`h.com/${"*a".repeat(100)}*b`);
    expect(outcome(list, `https://h.com/${"a".repeat(8000)}`)).toBe("none");
  });
});

describe("disabled services", () => {
  it("win and refuse although a less specific one is enabled", () => {
    const list = services({ host: "h.com/api/*", enabled: false }, "h.com");
    expect(outcome(list, "https://h.com/api/x")).toBe("disabled one");
    expect(outcome(list, "https://h.com/other")).toBe("service two");
  });

  it("refuse plain http too, so that a service for both schemes is no way round", () => {
    const list = services({ host: "h.com/api/*", enabled: false }, { host: "h.com", auth: { type: "passthrough" } });
    expect(outcome(list, "http://h.com/api/x")).toBe("disabled one");
  });

  it("are not passed by a path that is spelled differently", () => {
    const list = services({ host: "h.com/private/*", enabled: false }, "h.com");
    expect(outcome(list, "https://h.com/%70rivate/a")).toBe("disabled one");
    const spellings = ["//private/a", "/./private/a", "/x/../private/a", "/%2e/private/a", "/private%2fa"];
    const withParameters = ["/private;x/a", "/private;/a", "/private%3Bx=y/a", "/;/private/a", "/;x=y/private/a"];
    for (const path of [...spellings, ...withParameters]) {
      expect(outcome(list, `https://h.com${path}`)).toBe("ambiguous_path");
    }
  });
});

describe("schemes and methods", () => {
  it("send a credential over https only, unless the service opts in", () => {
    expect(outcome(services("h.com"), "http://h.com/")).toBe("scheme_not_allowed one");
    expect(outcome(services({ host: "h.com", schemes: ["https", "http"] }), "http://h.com/")).toBe("service one");
    expect(outcome(services({ host: "h.com", schemes: ["http"] }), "https://h.com/")).toBe("scheme_not_allowed one");
  });

  it("let a passthrough service have both, unless it substitutes a credential", () => {
    const plain = { host: "h.com", auth: { type: "passthrough" } };
    expect(outcome(services(plain), "http://h.com/")).toBe("service one");
    const filled = { ...plain, substitutions: [{ key: "SUB", placeholder: "__sub__" }] };
    expect(outcome(services(filled), "http://h.com/")).toBe("scheme_not_allowed one");
  });

  it("let two services divide a host by method", () => {
    const list = services({ host: "h.com", methods: ["GET"] }, { host: "h.com", methods: ["POST", "PUT"] });
    expect(outcome(list, "https://h.com/", "GET")).toBe("service one");
    expect(outcome(list, "https://h.com/", "PUT")).toBe("service two");
    expect(outcome(list, "https://h.com/", "DELETE")).toBe("method_not_allowed one");
  });

  it("refuse rather than fall through to the policy for unmatched hosts", () => {
    expect(outcome(services({ host: "h.com", methods: ["GET"] }), "http://h.com/", "POST")).toBe(
      "scheme_not_allowed one",
    );
  });
});

describe("paths with several readings", () => {
  const list = services("h.com/api/*");
  it.each([
    { path: "/api/../admin", why: "dot segment" },
    { path: "/api/..", why: "dot segment at the end" },
    { path: "/api/./x", why: "single dot" },
    { path: "/api//x", why: "empty segment" },
    { path: "//api/x", why: "empty segment at the start" },
    { path: "/api/%2e%2e/admin", why: "encoded dots" },
    { path: "/api/.%2E/admin", why: "one encoded dot" },
    { path: "/api/..%2fadmin", why: "encoded slash" },
    { path: "/api%2F..%2Fadmin", why: "encoded slashes" },
    { path: "/api/..%5cadmin", why: "encoded backslash" },
    { path: "/api/..\\admin", why: "raw backslash" },
    { path: "/api/..;/admin", why: "path parameter after dots" },
    { path: "/api/..;a=b/admin", why: "path parameter with a value" },
    { path: "/api/..%3B/admin", why: "encoded path parameter" },
    { path: "/api;v=1/x", why: "a path parameter on which the match depends" },
    { path: "/api/;/x", why: "nothing but a path parameter" },
    { path: "/api/%252e%252e/admin", why: "double encoding" },
    { path: "/api/%25%32%65/admin", why: "double encoding, digit by digit" },
    { path: "/api/%c0%ae%c0%ae/admin", why: "overlong UTF-8" },
    { path: "/api/%u002e/admin", why: "not an escape" },
    { path: "/api/%", why: "cut escape" },
    { path: "/api/%zz", why: "bad escape" },
    { path: "/api/a%00b", why: "NUL" },
    { path: "/api/a%0ab", why: "line feed" },
    { path: "/api/..%20/admin", why: "blank that some servers trim" },
    { path: "/api/.../admin", why: "dots that some servers trim" },
    { path: "/api/%e2%80%a5/admin", why: "a look-alike of two dots" },
    { path: "/api/..%ef%bc%8fadmin", why: "a look-alike of the slash" },
    { path: "/api/\u00e4", why: "raw byte beyond ASCII" },
  ])("$path is refused: $why", ({ path }) => {
    expect(outcome(list, `https://h.com${path}`)).toBe("ambiguous_path");
  });

  it.each([
    "/api/a%20b",
    "/api/%7Euser",
    "/api/caf%C3%A9",
    "/api/a;v=1/b",
    "/api/v1.2/x",
    "/api/a..b",
    "/api/.well-known",
    "/api/100%25",
    "/api/",
    "/api/a:b@c,d=e+f",
    "/%61pi/x",
  ])("%s has one reading", (path) => {
    expect(outcome(list, `https://h.com${path}`)).toBe("service one");
  });

  it("do not matter where no service of the host looks at paths", () => {
    expect(outcome(services("h.com"), "https://h.com/a/../b%2f")).toBe("service one");
    expect(outcome(services("h.com/*"), "https://h.com/a/../b%2f")).toBe("service one");
    expect(outcome(services("h.com:8443/api/*", "h.com"), "https://h.com/a/../b")).toBe("service two");
    expect(outcome(list, "https://other.com/a/../b")).toBe("none");
  });

  it("matter for a wildcard service of the host as well", () => {
    expect(outcome(services("a.h.com", "*.h.com/api/*"), "https://a.h.com/x/../api/y")).toBe("ambiguous_path");
  });
});
