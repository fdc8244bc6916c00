/**
 * The variables that lead a program through the broker and make it trust its certificates. Which client reads which
 * variable was tried out client by client; nothing here touches the machine.
 */
import { noProxyHosts, proxyUrl } from "../../client/proxy-env.ts";
import type { Environment } from "../../runtime/process.ts";

export interface ProxyEnvironmentOptions {
  /** The environment to start from, usually our own. */
  readonly inherited: Environment;
  readonly token: string;
  readonly vault: string;
  /** Base URL of the management API. */
  readonly address: string;
  /** Absent: no proxy and no certificates (`--no-mitm`). */
  readonly proxy?: {
    /** `http` where it is left out. */
    readonly scheme?: "http" | "https";
    readonly host: string;
    readonly port: number;
    /** PEM with the broker's root alone, for variables that add to the trusted roots. */
    readonly rootFile: string;
    /** PEM with the system's roots and the broker's, for variables that replace them. */
    readonly bundleFile: string;
    /** A wgetrc that names the bundle: wget reads no variable for it. */
    readonly wgetrcFile?: string;
    /** A directory whose `.curlrc` names the bundle for a proxy with TLS. */
    readonly curlHome?: string;
    /** Keep the hosts of an inherited NO_PROXY outside the broker. */
    readonly keepsNoProxy?: boolean;
  };
}

/** Would lead around the broker, or run code inside our own binary (Bun reads the last two). */
const stripped = ["ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "BUN_OPTIONS", "BUN_BE_BUN"] as const;
const proxyNames = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "OPENCLAW_PROXY_URL"] as const;
/** These replace a program's roots, so they need the system's as well. */
const bundleNames = [
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
] as const;
/** These add to a program's roots. */
const rootNames = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"] as const;
/** The name of a variable is case-sensitive except on Windows; npm takes both. */
const replaced = new Set([
  ...proxyNames,
  ...bundleNames,
  ...rootNames,
  "NODE_USE_ENV_PROXY",
  "GIT_HTTP_PROXY_AUTHMETHOD",
  "WGETRC",
  "SSL_CERT_DIR",
  "NPM_CONFIG_CAFILE",
]);
const ourNames = ["AGENT_VAULT_TOKEN", "AGENT_VAULT_SESSION_TOKEN", "AGENT_VAULT_ADDR", "AGENT_VAULT_VAULT"] as const;
/** The operator's secrets are none of the child's business. */
const secrets = ["AGENT_VAULT_MASTER_PASSWORD", "AGENT_VAULT_SMTP_PASSWORD"] as const;

/** The environment of a child. @returns a new object; `inherited` stays as it is. */
export function buildProxyEnv(options: ProxyEnvironmentOptions): Record<string, string> {
  const { inherited, proxy, token, vault, address } = options;
  const dropped = new Set<string>([
    ...ourNames,
    ...secrets,
    "BUN_OPTIONS",
    "BUN_BE_BUN",
    ...(proxy ? [...stripped, ...replaced] : []),
  ]);
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(inherited)) {
    if (value !== undefined && !dropped.has(name)) environment[name] = value;
  }
  Object.assign(environment, {
    AGENT_VAULT_TOKEN: token,
    AGENT_VAULT_SESSION_TOKEN: token,
    AGENT_VAULT_ADDR: address,
    AGENT_VAULT_VAULT: vault,
  });
  if (!proxy) return environment;

  const noProxy = noProxyHosts(proxy.host, proxy.keepsNoProxy ? (inherited.NO_PROXY ?? inherited.no_proxy) : undefined);
  for (const name of proxyNames) environment[name] = proxyUrl({ token, vault, ...proxy });
  for (const name of bundleNames) environment[name] = proxy.bundleFile;
  for (const name of rootNames) environment[name] = proxy.rootFile;
  environment.NO_PROXY = noProxy;
  environment.no_proxy = noProxy;
  // Node from 22.21 on reads the proxy variables only when asked to.
  environment.NODE_USE_ENV_PROXY = "1";
  // Without it git tries a CONNECT without credentials first.
  environment.GIT_HTTP_PROXY_AUTHMETHOD = "basic";
  if (proxy.wgetrcFile) environment.WGETRC = proxy.wgetrcFile;
  if (proxy.scheme === "https") {
    environment.GIT_PROXY_SSL_CAINFO = proxy.bundleFile;
    if (proxy.curlHome) environment.CURL_HOME = proxy.curlHome;
  }
  return environment;
}
