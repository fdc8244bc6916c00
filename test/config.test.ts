import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { parseDuration } from "../src/config/variables.ts";
import { describeDatabase, parseServerConfig } from "../src/config.ts";
import { InvalidInput } from "../src/errors.ts";
import { isPortDenied } from "../src/net/ports.ts";

const home = { HOME: "/home/ada" };

describe("parseServerConfig", () => {
  it("needs nothing: loopback, embedded SQLite, the well-known ports", () => {
    const config = parseServerConfig({}, home);
    expect(config).toMatchObject({ host: "127.0.0.1", port: 14321, proxyPort: 14322, maxResponseBytes: 0 });
    expect(config.database).toEqual({ kind: "sqlite", path: "/home/ada/.agent-vault/agent-vault.db" });
    expect(config.baseUrl).toBe("http://127.0.0.1:14321");
    expect(config.isBaseUrlExplicit).toBe(false);
  });

  it("reads how agents reach the proxy", () => {
    const hopOf = (env: Record<string, string>) => parseServerConfig({}, { ...home, ...env }).agentHop;
    expect(hopOf({})).toEqual({ tls: undefined, socket: undefined });
    expect(hopOf({ AGENT_VAULT_PROXY_TLS: "on" }).tls).toEqual({ kind: "own" });
    const files = { AGENT_VAULT_PROXY_TLS_CERT_FILE: "/a.crt", AGENT_VAULT_PROXY_TLS_KEY_FILE: "/a.key" };
    expect(hopOf(files).tls).toEqual({ kind: "files", certificateFile: "/a.crt", keyFile: "/a.key" });
    expect(hopOf({ AGENT_VAULT_PROXY_SOCKET: "/run/p.sock" }).socket).toEqual({ path: "/run/p.sock", mode: 0o600 });
    const mode = { AGENT_VAULT_PROXY_SOCKET: "/run/p.sock", AGENT_VAULT_PROXY_SOCKET_MODE: "660" };
    expect(hopOf(mode).socket?.mode).toBe(0o660);
  });

  it.each([
    [{ AGENT_VAULT_PROXY_TLS_CERT_FILE: "/a.crt" }, "AGENT_VAULT_PROXY_TLS_KEY_FILE"],
    [{ AGENT_VAULT_PROXY_TLS_KEY_FILE: "/a.key", AGENT_VAULT_PROXY_TLS: "on" }, "AGENT_VAULT_PROXY_TLS_CERT_FILE"],
    [{ AGENT_VAULT_PROXY_SOCKET: "/a", AGENT_VAULT_PROXY_SOCKET_MODE: "rw" }, "AGENT_VAULT_PROXY_SOCKET_MODE"],
  ])("refuses %o rather than listening in another way", (env, name) => {
    expect(() => parseServerConfig({}, { ...home, ...env })).toThrow(name);
  });

  it("lets a flag beat its variable", () => {
    const config = parseServerConfig(
      { port: "9000", logLevel: "DEBUG", maxRequestBytes: "10" },
      { ...home, PORT: "9001", AGENT_VAULT_LOG_LEVEL: "info", AGENT_VAULT_MAX_REQUEST_BYTES: "20" },
    );
    expect(config).toMatchObject({ port: 9000, log: { level: "debug" }, maxRequestBytes: 10 });
  });

  it.each([
    [{ AGENT_VAULT_ADDR: "https://vault.example.com///" }, "https://vault.example.com"],
    [{ FLY_APP_NAME: "my-app" }, "https://my-app.fly.dev"],
    [{ PORT: "8080" }, "http://127.0.0.1:8080"],
  ])("takes the base URL from %o", (env, expected) => {
    expect(parseServerConfig({}, { ...home, ...env }).baseUrl).toBe(expected);
  });

  it.each([
    ["0.0.0.0", "http://127.0.0.1:14321"],
    ["::", "http://[::1]:14321"],
    ["0:0:0:0:0:0:0:0", "http://[::1]:14321"],
    ["192.0.2.7", "http://192.0.2.7:14321"],
  ])("names an address that can be called when bound to %s", (host, expected) => {
    expect(parseServerConfig({ host }, home).baseUrl).toBe(expected);
  });

  it("brackets an IPv6 host in the base URL and takes it with or without brackets", () => {
    expect(parseServerConfig({ host: "2001:db8::1" }, home).baseUrl).toBe("http://[2001:db8::1]:14321");
    expect(parseServerConfig({ host: "[::1]" }, home).host).toBe("::1");
  });

  it.each([
    [{ PORT: "0" }, "PORT"],
    [{ PORT: "80x" }, "PORT"],
    [{ PORT: "70000" }, "PORT"],
    [{ AGENT_VAULT_LOG_LEVEL: "verbose" }, "AGENT_VAULT_LOG_LEVEL"],
    [{ LOG_FORMAT: "xml" }, "LOG_FORMAT"],
    [{ AGENT_VAULT_MAX_REQUEST_BYTES: "0" }, "AGENT_VAULT_MAX_REQUEST_BYTES"],
    [{ AGENT_VAULT_MAX_RESPONSE_BYTES: "-1" }, "AGENT_VAULT_MAX_RESPONSE_BYTES"],
    [{ AGENT_VAULT_ALLOW_PRIVATE_RANGES: "maybe" }, "AGENT_VAULT_ALLOW_PRIVATE_RANGES"],
    [{ AGENT_VAULT_NETWORK_ALLOWLIST: "10.0.0.0/33" }, "AGENT_VAULT_NETWORK_ALLOWLIST"],
    [{ AGENT_VAULT_NETWORK_ALLOWLIST: "example.com" }, "AGENT_VAULT_NETWORK_ALLOWLIST"],
    [{ AGENT_VAULT_NETWORK_ALLOWLIST: "fe80::1%eth0" }, "AGENT_VAULT_NETWORK_ALLOWLIST"],
    [{ AGENT_VAULT_TRUSTED_PROXIES: "10.0.0.0/8/8" }, "AGENT_VAULT_TRUSTED_PROXIES"],
    [{ AGENT_VAULT_ADDR: "vault.example.com" }, "AGENT_VAULT_ADDR"],
    [{ AGENT_VAULT_ADDR: "https://user:pass@vault.example.com" }, "AGENT_VAULT_ADDR"],
    [{ AGENT_VAULT_RATELIMIT_PROFILE: "fast" }, "AGENT_VAULT_RATELIMIT_PROFILE"],
    [{ AGENT_VAULT_RATELIMIT_AUTH_WINDOW: "5" }, "AGENT_VAULT_RATELIMIT_AUTH_WINDOW"],
    [{ AGENT_VAULT_LOGS_MAX_AGE_HOURS: "a week" }, "AGENT_VAULT_LOGS_MAX_AGE_HOURS"],
    [{ AGENT_VAULT_VAULT_NETWORK_ALLOWLIST: "10.0.0.0/33" }, "AGENT_VAULT_VAULT_NETWORK_ALLOWLIST"],
    [{ AGENT_VAULT_DENIED_PORTS: "smtp" }, "AGENT_VAULT_DENIED_PORTS"],
    [{ AGENT_VAULT_ALLOWED_PORTS: "443-80" }, "AGENT_VAULT_ALLOWED_PORTS"],
    [{ AGENT_VAULT_DNS_SERVERS: "dns.example" }, "AGENT_VAULT_DNS_SERVERS"],
    [{ AGENT_VAULT_UPSTREAM_PROXY: "socks4://proxy.example" }, "AGENT_VAULT_UPSTREAM_PROXY"],
    [{ AGENT_VAULT_UPSTREAM_PROXY_FILE: "/nowhere/at/all" }, "AGENT_VAULT_UPSTREAM_PROXY_FILE"],
    [{ AGENT_VAULT_UPSTREAM_PROXY_RESOLVES: "true" }, "AGENT_VAULT_UPSTREAM_PROXY_RESOLVES"],
    [{ HTTPS_PROXY: "ftp://proxy.example" }, "HTTPS_PROXY"],
    [{ https_proxy: "ftp://proxy.example" }, "https_proxy"],
    [{ ALL_PROXY: "http://127.0.0.1:14322" }, "ALL_PROXY"],
    [{ HTTPS_PROXY: "http://t:v@localhost:14322" }, "HTTPS_PROXY"],
    [{ AGENT_VAULT_UPSTREAM_PROXY: "http://[::1]:14321" }, "AGENT_VAULT_UPSTREAM_PROXY"],
    [{ HTTPS_PROXY: "proxy.example:3128", NO_PROXY: "a..b" }, "NO_PROXY"],
    [{ DB_MAX_OPEN_CONNS: "many", DATABASE_URL: "postgres://h/d" }, "DB_MAX_OPEN_CONNS"],
    [{ DB_MAX_IDLE_CONNS: "many", DATABASE_URL: "postgres://h/d" }, "DB_MAX_IDLE_CONNS"],
  ])("refuses %o by name", (env, name) => {
    const parse = () => parseServerConfig({}, { ...home, ...env });
    expect(parse).toThrow(InvalidInput);
    expect(parse).toThrow(name);
  });

  it.each([
    [{ port: "0" }, "--port"],
    [{ mitmPort: "65536" }, "--mitm-port"],
    [{ mitmPort: "14321" }, "--mitm-port"],
    [{ host: "http://x" }, "--host"],
    [{ host: "127.0.0.1:80" }, "--host"],
    [{ logLevel: "trace" }, "--log-level"],
    [{ maxRequestBytes: "1e9" }, "--max-request-bytes"],
  ])("refuses the flag %o by name", (flags, name) => {
    expect(() => parseServerConfig(flags, home)).toThrow(name);
  });

  it("never shows the password of a database address, wrong or right", () => {
    const wrong = () => parseServerConfig({ databaseUrl: "mysql://root:hunter2@db/x" }, home);
    expect(wrong).toThrow("--database-url");
    expect(wrong).not.toThrow("hunter2");
    const right = parseServerConfig(
      {},
      { ...home, DATABASE_URL: "postgres://u:hunter2@db:5433/vault?sslmode=require" },
    );
    expect(describeDatabase(right.database)).toBe("postgres://db:5433/vault");
  });

  it("never shows the login of an egress proxy, wrong or right", () => {
    for (const name of ["AGENT_VAULT_UPSTREAM_PROXY", "HTTPS_PROXY", "all_proxy"]) {
      const wrong = () => parseServerConfig({}, { ...home, [name]: "quic://bob:hunter2@proxy.example" });
      expect(wrong).toThrow(name);
      expect(wrong).not.toThrow("hunter2");
      const right = parseServerConfig({}, { ...home, [name]: "http://bob:hunter2@proxy.example" });
      expect(JSON.stringify(right) + inspect(right, { depth: 20, showHidden: true })).not.toContain("hunter2");
    }
  });

  it.each([
    { env: {}, https: undefined, http: undefined, because: "nobody names one" },
    { env: { HTTPS_PROXY: "s.example:1" }, https: "s.example", http: undefined, because: "it is for https" },
    { env: { http_proxy: "p.example:1" }, https: undefined, http: "p.example", because: "it is for http" },
    {
      env: { ALL_PROXY: "a.example:1", HTTPS_PROXY: "s.example:1" },
      https: "s.example",
      http: "a.example",
      because: "the one for all is for the rest",
    },
    {
      env: { AGENT_VAULT_UPSTREAM_PROXY: "o.example:1", HTTPS_PROXY: "s.example:1" },
      https: "o.example",
      http: "o.example",
      because: "our own variable comes first",
    },
    {
      env: { AGENT_VAULT_UPSTREAM_PROXY: "direct", HTTPS_PROXY: "http://t:v@127.0.0.1:14322" },
      https: undefined,
      http: undefined,
      because: "the operator wants none",
    },
    {
      env: { HTTPS_PROXY: "s.example:1", NO_PROXY: "*" },
      https: undefined,
      http: undefined,
      because: "all is excepted",
    },
    {
      env: { HTTPS_PROXY: "s.example:1", NO_PROXY: "*", AGENT_VAULT_UPSTREAM_NO_PROXY: "other.example" },
      https: "s.example",
      http: undefined,
      because: "our own list comes first",
    },
  ])("goes out through $https and $http: $because", ({ env, https, http }) => {
    const egress = parseServerConfig({}, { ...home, ...env }).egress.proxy;
    expect(egress?.routeFor("https", { host: "api.example", port: 443 })?.proxy.host).toBe(https);
    expect(egress?.routeFor("http", { host: "api.example", port: 80 })?.proxy.host).toBe(http);
  });

  it("shuts the ports that browsers shut, until it is told which", () => {
    const shut = (env: object) => parseServerConfig({}, { ...home, ...env }).network.ports;
    expect(isPortDenied(shut({}), 25)).toBe(true);
    expect(isPortDenied(shut({}), 443)).toBe(false);
    expect(isPortDenied(shut({ AGENT_VAULT_DENIED_PORTS: "none" }), 25)).toBe(false);
    expect(isPortDenied(shut({ AGENT_VAULT_DENIED_PORTS: "8080" }), 8080)).toBe(true);
    expect(isPortDenied(shut({ AGENT_VAULT_ALLOWED_PORTS: "443,25" }), 8443)).toBe(true);
    expect(isPortDenied(shut({ AGENT_VAULT_ALLOWED_PORTS: "443,25" }), 25)).toBe(true);
  });

  it("reads rate-limit knobs per tier", () => {
    const config = parseServerConfig(
      {},
      { ...home, AGENT_VAULT_RATELIMIT_AUTH_MAX: "7", AGENT_VAULT_RATELIMIT_AUTH_WINDOW: "1m30s" },
    );
    expect(config.rateLimit.knobs).toEqual({ AUTH: { max: 7, windowMs: 90_000 } });
  });

  it("cannot be changed afterwards", () => {
    const config = parseServerConfig({}, home);
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.network.allowlist)).toBe(true);
  });
});

describe("parseDuration", () => {
  it.each([
    ["300ms", 300],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["0", 0],
    ["5", undefined],
    ["-5m", undefined],
    ["5 m", undefined],
    ["m", undefined],
    ["five minutes", undefined],
    ["1d", undefined],
    ["5m;", undefined],
    ["20μs", 0.02],
    ["20µs", 0.02],
    ["", undefined],
  ])("reads %j as %j milliseconds", (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });
});

describe("the configuration of mail", () => {
  const smtp = (variables: Record<string, string>) => parseServerConfig({}, { HOME: "/home/ada", ...variables }).smtp;
  const both = { AGENT_VAULT_SMTP_HOST: "mail.example.com", AGENT_VAULT_SMTP_FROM: "vault@example.com" };

  it("is off without a host, and incomplete without a sender", () => {
    expect(smtp({})).toEqual({ state: "off" });
    expect(smtp({ AGENT_VAULT_SMTP_FROM: "vault@example.com" })).toEqual({ state: "off" });
    expect(smtp({ AGENT_VAULT_SMTP_HOST: "mail.example.com" })).toEqual({
      state: "incomplete",
      missing: "AGENT_VAULT_SMTP_FROM",
    });
  });

  it("has a default for everything else", () => {
    expect(smtp(both)).toEqual({
      state: "on",
      host: "mail.example.com",
      port: 587,
      security: "opportunistic",
      skipsVerification: false,
      username: undefined,
      from: { name: "Agent Vault", address: "vault@example.com" },
    });
  });

  it("takes port 465 for TLS from the first byte, whatever the mode", () => {
    const variables = { ...both, AGENT_VAULT_SMTP_PORT: "465", AGENT_VAULT_SMTP_TLS_MODE: "none" };
    expect(smtp(variables)).toMatchObject({ port: 465, security: "implicit" });
  });

  it("never holds the password", () => {
    const config = parseServerConfig({}, { HOME: "/home/ada", ...both, AGENT_VAULT_SMTP_PASSWORD: "smtp-password-1" });
    expect(JSON.stringify(config)).not.toContain("smtp-password-1");
  });

  it.each([
    ["AGENT_VAULT_SMTP_HOST", "smtp://mail.example.com"],
    ["AGENT_VAULT_SMTP_HOST", "mail.example.com\nX"],
    ["AGENT_VAULT_SMTP_PORT", "0"],
    ["AGENT_VAULT_SMTP_FROM", "Agent Vault <vault@example.com>"],
    ["AGENT_VAULT_SMTP_FROM", "vault@example.com\r\nBcc: eve@example.com"],
    ["AGENT_VAULT_SMTP_FROM_NAME", "Vault\r\nBcc: eve@example.com"],
    ["AGENT_VAULT_SMTP_TLS_MODE", "maybe"],
    ["AGENT_VAULT_SMTP_TLS_SKIP_VERIFY", "perhaps"],
  ])("refuses %s=%j by its name", (name, value) => {
    expect(() => smtp({ ...both, [name]: value })).toThrow(name);
  });
});
