import { describe, expect, it } from "vitest";
import { formatService, parseService, parseServices, referencedKeys } from "../../../src/domain/services/definition.ts";
import { InvalidInput } from "../../../src/errors.ts";

const options = { allowsInternalNames: false };
const bearer = { type: "bearer", token: "TOK" };

function problem(entry: unknown, given = options): string {
  try {
    parseServices([entry], given);
  } catch (error) {
    if (error instanceof InvalidInput) return error.message;
    throw error;
  }
  return "accepted";
}

const withHost = (host: string, path?: string) => problem({ name: "svc", host, path, auth: bearer });
const withAuth = (auth: unknown) => problem({ name: "svc", host: "a.example.com", auth });
const withSubstitutions = (...substitutions: unknown[]) =>
  problem({ name: "svc", host: "a.example.com", auth: { type: "passthrough" }, substitutions });

describe("hosts", () => {
  it.each([
    { host: "api.github.com", stored: "api.github.com" },
    { host: " API.Example.NET ", stored: "api.example.net", because: "trimmed and lower-cased" },
    { host: "h.example.com:8443/x/*", stored: "h.example.com:8443/x/*" },
    { host: "*.example.org:9000", stored: "*.example.org:9000" },
    { host: "h.example.com:08080", stored: "h.example.com:8080" },
    { host: "xn--bcher-kva.example", stored: "xn--bcher-kva.example" },
    { host: "shop.xn--p1ai", stored: "shop.xn--p1ai", because: "a punycode top-level name" },
    {
      host: "169.254.169.254.nip.io",
      stored: "169.254.169.254.nip.io",
      because: "the address policy judges what it resolves to",
    },
  ])("$host is stored as $stored", ({ host, stored }) => {
    expect(formatService(parseService({ name: "svc", host, auth: bearer }, options))).toMatchObject({ host: stored });
  });

  it.each([
    ["", "host is required"],
    [" ", "host is empty"],
    [
      "localhost",
      'host "localhost" is a local/internal name and is not allowed (set AGENT_VAULT_DEV_MODE=true to override)',
    ],
    ["LOCALHOST", "local/internal"],
    ["metadata.google.internal", "local/internal"],
    ["*.google.internal", "local/internal"],
    ["foo", 'host "foo" is not a valid hostname'],
    ["127.0.0.1", "must be a hostname, not an IP address"],
    ["1.2.3.4:80", "must be a hostname, not an IP address"],
    ["::1", 'host ":" is not a valid hostname'],
    ["[::1]", "is not a valid hostname"],
    ["0x7f.1", "is not a valid hostname"],
    ["*", "bare wildcard is not allowed"],
    ["*.com", "wildcard must have at least two domain levels"],
    ["*.*.com", "invalid hostname in wildcard pattern"],
    ["*a.example.com", "wildcard must be in the form *.example.com"],
    ["a.*.com", "is not a valid hostname"],
    ["*.co.uk", "anyone can register a name under"],
    ["http://x.example.com", 'host "http:" is not a valid hostname'],
    ["x.example.com?q=1", "contains invalid character '?'"],
    ["a@x.example.com", "contains invalid character '@'"],
    ["x y.example.com", "contains invalid character ' '"],
    ["x.example.com\r\nY: z", "contains invalid character"],
    ["x.example.com:0", "port 0 is out of range (must be 1-65535)"],
    ["x.example.com:65536", "port 65536 is out of range (must be 1-65535)"],
    ["x.example.com:abc", "is not a valid hostname"],
    ["x.example.com:80:90", 'host "x.example.com:80" is not a valid hostname'],
    ["x.example.com.", "is not a valid hostname"],
    ["x_y.example.com", "is not a valid hostname"],
    ["bücher.example", 'write it as "xn--bcher-kva.example"'],
    ["/x.example.com", 'must not contain "/"'],
  ])("%j is refused: %s", (host, message) => {
    expect(withHost(host)).toContain("service 0: ");
    expect(withHost(host)).toContain(message);
  });

  it("allows internal names in development, but no single labels", () => {
    const development = { allowsInternalNames: true };
    expect(problem({ name: "svc", host: "metadata.google.internal", auth: bearer }, development)).toBe("accepted");
    expect(problem({ name: "svc", host: "localhost", auth: bearer }, development)).toContain("not a valid hostname");
  });
});

describe("paths", () => {
  it.each(["/a", "/", "/*", "/a%2Fb", "/*a*b*", "/a'b", "/ä", `/${"a".repeat(255)}`])("accepts %s", (path) => {
    expect(withHost("p.example.com", path)).toBe("accepted");
  });

  it.each([
    ["a", 'path "a" must start with "/"'],
    ["/a/**", 'must not contain "**"'],
    ["/a b", "must not contain ' '"],
    ["/a?b", "must not contain '?'"],
    ["/a\\b", "must not contain '\\\\'"],
    ['/a"b', "must not contain '\"'"],
    ["/a\u0001b", "must not contain"],
    [`/${"a".repeat(256)}`, "is longer than 256 bytes"],
    ["/a/../b", "must not contain dot segments"],
    ["/a//b", "must not contain dot segments"],
  ])("%j is refused: %s", (path, message) => {
    expect(withHost("p.example.com", path)).toContain(message);
  });

  it("come once: inside the host or apart", () => {
    expect(withHost("b.example.com/x", "/y")).toContain('must not contain "/"');
  });
});

describe("names", () => {
  it.each([
    [undefined, "name is required"],
    ["ab", "must be at least 3 characters"],
    ["a".repeat(65), "must be at most 64 characters"],
    ["A-b", "must contain only lowercase letters, digits, and hyphens"],
    ["a--b", "must not contain consecutive hyphens"],
    ["-ab", "must not start or end with a hyphen"],
  ])("%j: %s", (name, message) => {
    expect(problem({ name, host: "a.example.com", auth: bearer })).toContain(message);
  });

  it("differ within a list", () => {
    const entry = { name: "dup", host: "a.example.com", auth: bearer };
    expect(() => parseServices([entry, entry], options)).toThrow('service 1: duplicate name "dup" (also at service 0)');
  });

  it("are adopted only where the entry has none", () => {
    const adopting = { ...options, adoptName: () => "old" };
    expect(parseService({ host: "a.example.com", auth: bearer }, adopting).name).toBe("old");
    expect(parseService({ name: "new", host: "a.example.com", auth: bearer }, adopting).name).toBe("new");
  });
});

describe("auth", () => {
  it.each([
    [undefined, "auth: type is required (supported: bearer, basic, api-key, custom, passthrough)"],
    [{ type: "oauth2" }, 'auth: unsupported type "oauth2"'],
    [{ type: "Bearer", token: "TOK" }, 'auth: unsupported type "Bearer"'],
    [{ type: "bearer" }, 'auth: "token" is required for bearer auth'],
    [{ type: "bearer", token: "lower" }, 'auth: token "lower" must be UPPER_SNAKE_CASE (e.g. STRIPE_KEY)'],
    [{ type: "bearer", token: "TOK", key: "X" }, 'auth: unexpected field "key" for bearer auth (only token)'],
    [{ type: "bearer", token: "TOK", headers: { A: "b" } }, 'auth: unexpected field "headers" for bearer auth'],
    [{ type: "basic", password: "PWD" }, 'auth: "username" is required for basic auth'],
    [{ type: "api-key", header: "X" }, 'auth: "key" is required for api-key auth'],
    [{ type: "api-key", key: "KEY", header: "X Bad\r\n" }, "auth: invalid header name"],
    [{ type: "api-key", key: "KEY", prefix: "a\r\nb" }, "auth: prefix must not contain line breaks"],
    [{ type: "api-key", key: "KEY", header: "Host" }, 'auth: header "Host" belongs to the connection'],
    [{ type: "api-key", key: "KEY", header: "proxy-AUTHORIZATION" }, "belongs to the connection or the broker"],
    [{ type: "custom" }, 'auth: "headers" is required for custom auth'],
    [{ type: "custom", headers: {} }, 'auth: "headers" is required for custom auth'],
    [{ type: "custom", headers: { "X A": "v" } }, "auth: invalid header name"],
    [
      { type: "custom", headers: Object.fromEntries(Array.from({ length: 21 }, (_, at) => [`X-${at}`, "v"])) },
      "auth: custom auth must not set more than 20 headers",
    ],
    [{ type: "custom", headers: { "X-A": "{{ lower }}" } }, 'auth: invalid credential key "lower" in header "X-A"'],
    [{ type: "custom", headers: { "X-A": "{{ 1KEY }}" } }, 'invalid credential key "1KEY"'],
    [{ type: "custom", headers: { "X-A": "a\r\nb" } }, "must not contain line breaks"],
    [{ type: "custom", headers: { "X-A": "a", "x-a": "b" } }, "is listed more than once"],
    [{ type: "custom", headers: { "Transfer-Encoding": "chunked" } }, "cannot be set"],
    [{ type: "passthrough", token: "TOK" }, "no credential fields are permitted"],
    [{ type: "bearer", token: 5 }, 'auth: "token" must be a string'],
    ["bearer", "auth: it must be an object"],
  ])("%j is refused: %s", (auth, message) => {
    expect(withAuth(auth)).toContain(message);
  });

  it.each([
    { type: "bearer", token: "TOK", key: "" },
    { type: "bearer", token: "TOK", headers: {} },
    { type: "bearer", token: "TOK", color: "x" },
    { type: "basic", username: "USR" },
    { type: "api-key", key: "KEY", header: "Authorization", prefix: "Token " },
    { type: "custom", headers: { "X-A": "v {{ KEY }} {{KEY2}}", "X-B": "static", "X-C": "{{ KEY " } },
    { type: "passthrough" },
  ])("%j is accepted", (auth) => {
    expect(withAuth(auth)).toBe("accepted");
  });
});

describe("substitutions", () => {
  it.each([
    [{ placeholder: "__sub__" }, '"key" is required'],
    [{ key: "sub", placeholder: "__sub__" }, 'key "sub" must be UPPER_SNAKE_CASE'],
    [{ key: "SUB" }, '"placeholder" is required'],
    [{ key: "SUB", placeholder: "__a" }, "is too short"],
    [{ key: "SUB", placeholder: "abcdef" }, "must contain a delimiter"],
    [{ key: "SUB", placeholder: "account_sid" }, "must contain a delimiter"],
    [{ key: "SUB", placeholder: "____" }, "must contain at least one alphanumeric"],
    [{ key: "SUB", placeholder: "~~~~" }, "must contain at least one alphanumeric"],
    [{ key: "SUB", placeholder: "{{sub}}" }, "contains disallowed character '{'"],
    [{ key: "SUB", placeholder: "__a b__" }, "contains disallowed character ' '"],
    [{ key: "SUB", placeholder: "__ä__" }, "contains disallowed character 'ä'"],
    [{ key: "SUB", placeholder: "__sub__", in: ["cookie"] }, 'invalid substitution surface "cookie"'],
    [{ key: "SUB", placeholder: "__sub__", in: ["path", "path"] }, "listed more than once"],
    [{ key: "SUB", placeholder: "__sub__", in: "path" }, '"in" must be a list'],
  ])("%j is refused: %s", (substitution, message) => {
    expect(withSubstitutions(substitution)).toContain("service 0: substitution 0: ");
    expect(withSubstitutions(substitution)).toContain(message);
  });

  it.each(["__sid__", "sid.value", "sid-val", "~sid~", "__ab"])("accepts the placeholder %s", (placeholder) => {
    expect(withSubstitutions({ key: "SUB", placeholder })).toBe("accepted");
  });

  it("never share a placeholder", () => {
    const one = { key: "SUB", placeholder: "__sub__" };
    expect(withSubstitutions(one, { ...one, key: "SUB2" })).toContain("already declared by substitution 0");
  });

  it("apply to path and query unless said otherwise", () => {
    const entry = {
      name: "svc",
      host: "a.example.com",
      auth: { type: "passthrough" },
      substitutions: [{ key: "SUB", placeholder: "__sub__", in: [] }],
    };
    expect(parseService(entry, options).substitutions[0]?.in).toEqual(["path", "query"]);
  });
});

describe("the fields that only we have", () => {
  const passthrough = { type: "passthrough" };

  it.each([
    [{ schemes: ["ftp"] }, 'schemes: "ftp" must be https or http'],
    [{ schemes: [] }, "schemes must not be empty"],
    [{ methods: ["GET", "get"] }, 'methods: "GET" is listed more than once'],
    [{ methods: ["G ET"] }, "is not a method name"],
    [{ methods: ["TRACE"] }, "TRACE is never forwarded"],
    [{ scrub: "maybe" }, 'scrub "maybe" must be one of off, detect, redact, block'],
    [{ set_cookie: "keep" }, 'set_cookie "keep" must be one of strip, pass'],
    [{ strip_headers: ["a b"] }, "is not a header name"],
    [{ enabled: "no" }, '"enabled" must be true or false'],
    [{ raw: "yes" }, '"raw" must be true or false'],
    [{ raw: true }, "auth must be passthrough, not bearer"],
    [{ raw: true, auth: passthrough, path: "/v1/*" }, "raw: a tunnel has no path"],
    [{ raw: true, auth: passthrough, methods: ["GET"] }, "raw: methods says nothing"],
    [{ raw: true, auth: passthrough, schemes: ["https"] }, "raw: schemes says nothing"],
    [{ raw: true, auth: passthrough, scrub: "redact" }, "raw: scrub says nothing"],
    [{ raw: true, auth: passthrough, strip_headers: ["a"] }, "raw: strip_headers says nothing"],
    [{ raw: true, auth: passthrough, set_cookie: "pass" }, "raw: set_cookie says nothing"],
    [
      { raw: true, auth: passthrough, substitutions: [{ key: "S", placeholder: "__s__" }] },
      "raw: substitutions says nothing",
    ],
  ])("%j is refused: %s", (fields, message) => {
    expect(problem({ name: "svc", host: "a.example.com", auth: bearer, ...fields })).toContain(message);
  });
});

describe("the wire form", () => {
  it("keeps what was set and leaves out what was not", () => {
    const bare = { name: "svc", host: "a.example.com", auth: bearer };
    expect(formatService(parseService({ ...bare, enabled: null, color: "red" }, options))).toEqual(bare);
    const full = {
      ...bare,
      host: "*.example.com:8443/v1/*",
      enabled: true,
      auth: { type: "basic", username: "USR", password: "PWD" },
      substitutions: [{ key: "SUB", placeholder: "__sub__", in: ["header"] }],
      schemes: ["https", "http"],
      methods: ["GET"],
      scrub: "block",
      strip_headers: ["authorization"],
      set_cookie: "pass",
    };
    expect(formatService(parseService(full, options))).toEqual(full);
    expect(formatService(parseService(formatService(parseService(full, options)), options))).toEqual(full);
  });

  it("keeps raw where it is true", () => {
    const bare = { name: "svc", host: "a.example.com:443", auth: { type: "passthrough" } };
    expect(formatService(parseService({ ...bare, raw: true }, options))).toEqual({ ...bare, raw: true });
    expect(formatService(parseService({ ...bare, raw: false }, options))).toEqual(bare);
  });

  it("refuses the removed description, naming the entry", () => {
    const entry = { name: "svc", host: "a.example.com", auth: bearer };
    expect(() => parseServices([entry, { ...entry, description: null }], options)).toThrow(
      /^services\[1\]: description/,
    );
  });

  it("names referenced credentials in order, each once", () => {
    const service = parseService(
      {
        name: "svc",
        host: "a.example.com",
        auth: { type: "custom", headers: { "X-A": "{{ B_KEY }}{{A_KEY}}", "X-B": "{{ B_KEY }}" } },
        substitutions: [
          { key: "A_KEY", placeholder: "__a__" },
          { key: "C_KEY", placeholder: "__c__" },
        ],
      },
      options,
    );
    expect(referencedKeys(service)).toEqual(["B_KEY", "A_KEY", "C_KEY"]);
  });
});
