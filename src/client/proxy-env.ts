/** How a program is led through the proxy: its address with a token in it, and the variables that programs read. */

/** What a program in a sandbox needs besides its own environment. */
export interface ContainerConfig {
  readonly env: {
    /** The proxy, with the token and the vault in it: as secret as the token. */
    readonly HTTPS_PROXY: string;
    readonly HTTP_PROXY: string;
    /** Hosts that are reached directly: the machine itself, and the one of the server. */
    readonly NO_PROXY: string;
  };
  /** The proxy's root certificate, PEM. Put it where the program can read it; that is the path for `buildProxyEnv`. */
  readonly caCertificate: string;
}

/**
 * The variables that lead a program through the proxy and make it trust the proxy's certificates: for curl, git,
 * Python, Node (22.21 and newer), Bun, Deno, Go and OpenClaw. Merge them over the program's own environment.
 * @param certPath where the program finds `config.caCertificate`.
 */
export function buildProxyEnv(config: ContainerConfig, certPath: string): Record<string, string> {
  const { HTTPS_PROXY, HTTP_PROXY, NO_PROXY } = config.env;
  return {
    HTTPS_PROXY,
    HTTP_PROXY,
    NO_PROXY,
    // curl prefers these, and reads no HTTP_PROXY in capitals; an inherited one would lead around the proxy.
    https_proxy: HTTPS_PROXY,
    http_proxy: HTTP_PROXY,
    no_proxy: NO_PROXY,
    NODE_USE_ENV_PROXY: "1",
    OPENCLAW_PROXY_URL: HTTPS_PROXY,
    SSL_CERT_FILE: certPath,
    NODE_EXTRA_CA_CERTS: certPath,
    REQUESTS_CA_BUNDLE: certPath,
    CURL_CA_BUNDLE: certPath,
    GIT_SSL_CAINFO: certPath,
    DENO_CERT: certPath,
  };
}

/** `http://token:vault@host:port`, with the user information percent-encoded and an IPv6 literal in brackets. */
export function proxyUrl({
  scheme = "http",
  token,
  vault,
  host,
  port,
}: {
  /** That of the hop to the proxy. */
  readonly scheme?: "http" | "https" | undefined;
  readonly token: string;
  readonly vault: string;
  readonly host: string;
  readonly port: number;
}): string {
  return `${scheme}://${encode(token)}:${encode(vault)}@${bracket(host)}:${port}`;
}

/** Host of the proxy, from the address of the API; `127.0.0.1` when it has none. Without brackets. */
export function proxyHostOf(address: string): string {
  const host = URL.canParse(address) ? new URL(address).hostname.replace(/^\[|\]$/g, "") : "";
  return host || "127.0.0.1";
}

/** @param inherited hosts that stay outside the proxy as well, separated by commas. */
export function noProxyHosts(proxyHost: string, inherited?: string): string {
  const kept = (inherited ?? "").split(",").map((host) => host.trim());
  // `*` would switch the broker off for everything.
  const hosts = ["localhost", "127.0.0.1", bracket(proxyHost), ...kept.filter((host) => host !== "" && host !== "*")];
  return [...new Set(hosts)].join(",");
}

function bracket(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** encodeURIComponent leaves `!'()*` alone; some clients' URL parsers do not. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
