import { describe, expect, it } from "vitest";
import { buildProxyEnv, type ProxyEnvironmentOptions } from "../../src/cli/launch/environment.ts";
import { proxyHostOf, proxyUrl } from "../../src/client/proxy-env.ts";

const files = { rootFile: "/r.pem", bundleFile: "/b.pem", wgetrcFile: "/w", curlHome: "/c" };
const base: ProxyEnvironmentOptions = {
  inherited: { PATH: "/bin", HOME: "/home/a" },
  token: "av_sess_1",
  vault: "default",
  address: "http://10.0.0.5:14321",
  proxy: { ...files, host: "10.0.0.5", port: 14322 },
};
const url = "http://av_sess_1:default@10.0.0.5:14322";

describe("the environment of a brokered command", () => {
  it("keeps what it does not own", () => {
    expect(buildProxyEnv(base)).toMatchObject({ PATH: "/bin", HOME: "/home/a" });
  });

  it.each(["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "OPENCLAW_PROXY_URL"])(
    "leads %s to the broker",
    (name) => {
      expect(buildProxyEnv({ ...base, inherited: { [name]: "http://corporate:3128" } })[name]).toBe(url);
    },
  );

  it.each([
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "npm_config_cafile",
    "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
  ])("gives %s, which replaces roots, the bundle", (name) => {
    expect(buildProxyEnv({ ...base, inherited: { [name]: "/theirs" } })[name]).toBe("/b.pem");
  });

  it.each(["NODE_EXTRA_CA_CERTS", "DENO_CERT"])(
    "gives %s, which adds to the roots, the broker's root alone",
    (name) => {
      expect(buildProxyEnv(base)[name]).toBe("/r.pem");
    },
  );

  it("leads to a proxy with TLS, and tells curl and git who vouches for it", () => {
    const proxy = { ...files, scheme: "https", host: "10.0.0.5", port: 14322 } as const;
    const secured = buildProxyEnv({ ...base, proxy });
    expect(secured.HTTPS_PROXY).toMatch(/^https:\/\/[^@]+@10\.0\.0\.5:14322$/);
    expect(secured).toMatchObject({ GIT_PROXY_SSL_CAINFO: "/b.pem", CURL_HOME: "/c" });
    expect(buildProxyEnv(base)).not.toHaveProperty("CURL_HOME");
  });

  it("switches Node to the proxy, git to Basic at once, and wget to our wgetrc", () => {
    expect(buildProxyEnv(base)).toMatchObject({
      NODE_USE_ENV_PROXY: "1",
      GIT_HTTP_PROXY_AUTHMETHOD: "basic",
      WGETRC: "/w",
    });
  });

  it.each([
    { name: "ALL_PROXY", because: "leads around the broker" },
    { name: "all_proxy", because: "leads around the broker" },
    { name: "SSL_CERT_DIR", because: "would be asked before the bundle" },
    { name: "NPM_CONFIG_CAFILE", because: "npm takes both spellings" },
    { name: "BUN_OPTIONS", because: "runs code inside our binary" },
    { name: "BUN_BE_BUN", because: "turns our binary into Bun" },
    { name: "AGENT_VAULT_MASTER_PASSWORD", because: "it opens everything" },
  ])("drops $name: $because", ({ name }) => {
    expect(buildProxyEnv({ ...base, inherited: { [name]: "x" } })).not.toHaveProperty(name);
  });

  it("sets NO_PROXY in both cases, each host once, and forgets the inherited one", () => {
    const inherited = { NO_PROXY: "api.github.com", no_proxy: "*" };
    expect(buildProxyEnv({ ...base, inherited })).toMatchObject({
      NO_PROXY: "localhost,127.0.0.1,10.0.0.5",
      no_proxy: "localhost,127.0.0.1,10.0.0.5",
    });
    const local = buildProxyEnv({ ...base, proxy: { ...files, host: "127.0.0.1", port: 1 } });
    expect(local.NO_PROXY).toBe("localhost,127.0.0.1");
  });

  it("keeps an inherited NO_PROXY when asked to, but never its *", () => {
    const proxy = { ...files, host: "127.0.0.1", port: 1, keepsNoProxy: true };
    const built = buildProxyEnv({ ...base, proxy, inherited: { NO_PROXY: "intra.example.com, *" } });
    expect(built.NO_PROXY).toBe("localhost,127.0.0.1,intra.example.com");
  });

  it("tells the command its token, server and vault under every name, over inherited ones", () => {
    const inherited = { AGENT_VAULT_TOKEN: "old", AGENT_VAULT_SESSION_TOKEN: "old", AGENT_VAULT_VAULT: "other" };
    expect(buildProxyEnv({ ...base, inherited })).toMatchObject({
      AGENT_VAULT_TOKEN: "av_sess_1",
      AGENT_VAULT_SESSION_TOKEN: "av_sess_1",
      AGENT_VAULT_ADDR: "http://10.0.0.5:14321",
      AGENT_VAULT_VAULT: "default",
    });
  });

  it("leaves proxies and certificates alone without a proxy, and strips what runs code all the same", () => {
    const { proxy: _, ...open } = base;
    const built = buildProxyEnv({
      ...open,
      inherited: { HTTPS_PROXY: "http://corporate:3128", BUN_OPTIONS: "--preload x" },
    });
    expect(built).toMatchObject({ HTTPS_PROXY: "http://corporate:3128", AGENT_VAULT_TOKEN: "av_sess_1" });
    expect(built).not.toHaveProperty("SSL_CERT_FILE");
    expect(built).not.toHaveProperty("BUN_OPTIONS");
  });

  it("does not change the environment that it was given", () => {
    const inherited = Object.freeze({ ALL_PROXY: "x" });
    buildProxyEnv({ ...base, inherited });
    expect(inherited).toEqual({ ALL_PROXY: "x" });
  });
});

describe("the address of the proxy", () => {
  it.each([
    { address: "http://127.0.0.1:14321", host: "127.0.0.1", because: "an IPv4 address" },
    { address: "https://vault.example.com/av", host: "vault.example.com", because: "a name" },
    { address: "http://[::1]:14321", host: "::1", because: "an IPv6 literal loses its brackets" },
    { address: "", host: "127.0.0.1", because: "nothing to go by" },
  ])("is $host for $address: $because", ({ address, host }) => {
    expect(proxyHostOf(address)).toBe(host);
  });

  it("encodes what a URL would read otherwise, and brackets IPv6", () => {
    expect(proxyUrl({ token: "a:b@c/d", vault: "x'(y)", host: "::1", port: 1 })).toBe(
      "http://a%3Ab%40c%2Fd:x%27%28y%29@[::1]:1",
    );
  });
});
