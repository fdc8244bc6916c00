/**
 * Flags and environment, parsed once into a frozen `ServerConfig`. A bad value is refused by its name, never replaced
 * by a default: a broker that runs with other limits than its operator wrote down is worse than one that does not run.
 */
import { isIP } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { type AgentHopConfig, parseAgentHop } from "./config/agent-hop.ts";
import { type ConnectionConfig, parseConnections, parseMetricsToken } from "./config/connections.ts";
import { type EgressConfig, type NetworkConfig, parseEgress, parseNetwork } from "./config/network.ts";
import { parseSmtp, type SmtpConfig } from "./config/smtp.ts";
import { parseTelemetry } from "./config/telemetry.ts";
import { invalid, parseInteger, parsePort, Variables } from "./config/variables.ts";
import type { Secret } from "./crypto/secret.ts";
import { InvalidInput } from "./errors.ts";
import type { LogFormat, LogLevel } from "./log.ts";
import { formatAuthority, isLoopbackHost, parseIp } from "./net/address.ts";
import { dataDirectoryOf } from "./runtime/files.ts";
import type { Environment } from "./runtime/process.ts";
import type { TelemetryConfig } from "./telemetry/telemetry-config.ts";

/** What `agent-vault server` was given on the command line; a flag beats its environment variable. */
export interface ServerFlags {
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly mitmPort?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly databaseUrl?: string | undefined;
  readonly maxRequestBytes?: string | undefined;
  readonly maxResponseBytes?: string | undefined;
}

export type DatabaseConfig =
  | { readonly kind: "sqlite"; readonly path: string }
  | {
      readonly kind: "postgres";
      /** Holds a password: print `describeDatabase` instead. */
      readonly url: string;
      readonly maxOpenConnections: number;
      readonly maxLifetimeMs: number;
    };

export const rateLimitProfiles = ["default", "strict", "loose", "off"] as const;
export type RateLimitProfile = (typeof rateLimitProfiles)[number];
export const rateLimitTiers = ["AUTH", "PROXY", "AUTHED", "GLOBAL", "VERIFY_FAIL"] as const;
export type RateLimitTier = (typeof rateLimitTiers)[number];

/** The knobs of one tier, which has only those that its algorithm needs; absent means the profile's value. */
export interface RateLimitKnobs {
  readonly rate?: number;
  readonly burst?: number;
  readonly windowMs?: number;
  readonly max?: number;
  readonly concurrency?: number;
}

export interface ServerConfig {
  readonly host: string;
  readonly port: number;
  /** 0 for no port: then the proxy is off, or on its Unix socket alone. */
  readonly proxyPort: number;
  /** `~/.agent-vault`: database, pid file, log of a detached server. */
  readonly dataDirectory: string;
  readonly database: DatabaseConfig;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  /** Where people and agents reach the API: links, `help` texts, the Secure attribute of cookies. No trailing slash. */
  readonly baseUrl: string;
  /** True when AGENT_VAULT_ADDR named the base URL; only then is it told to clients. */
  readonly isBaseUrlExplicit: boolean;
  readonly maxRequestBytes: number;
  /** 0 is unlimited. */
  readonly maxResponseBytes: number;
  /** CIDRs or addresses whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  readonly network: NetworkConfig;
  readonly agentHop: AgentHopConfig;
  readonly connections: ConnectionConfig;
  /** Who presents it may read the metrics. */
  readonly metricsToken: Secret | undefined;
  /** Where checkpoints of the audit log are kept besides the database. */
  readonly artifactsDirectory: string | undefined;
  /** What is told to a receiver of OpenTelemetry; undefined for nothing. */
  readonly telemetry: TelemetryConfig | undefined;
  readonly egress: EgressConfig;
  readonly upstreamTrust: {
    /** Added to the roots: AGENT_VAULT_UPSTREAM_CA_FILE, NODE_EXTRA_CA_CERTS. */
    readonly extraFiles: readonly string[];
    /** Replace the default roots, as OpenSSL and Go have it: SSL_CERT_FILE, SSL_CERT_DIR. */
    readonly replacementFile: string | undefined;
    readonly replacementDirectories: readonly string[];
  };
  readonly rateLimit: {
    readonly profile: RateLimitProfile;
    readonly isLocked: boolean;
    readonly knobs: Readonly<Partial<Record<RateLimitTier, RateLimitKnobs>>>;
  };
  readonly logRetention: {
    /** Undefined where the environment does not say; then the stored setting or the default applies. */
    readonly maxAgeHours: number | undefined;
    readonly maxRowsPerVault: number | undefined;
    readonly isLocked: boolean;
  };
  /** Services may name internal and local hosts. */
  readonly isDevMode: boolean;
  readonly smtp: SmtpConfig;
  /** Others than this machine reach the server, so its first account takes a secret from its output. */
  readonly guardsSetup: boolean;
}

const defaultRequestLimit = 1024 ** 3;

/**
 * @throws {InvalidInput} `invalid_configuration`, naming the flag or variable, what it held (never for secrets), and
 * what would work.
 */
export function parseServerConfig(flags: ServerFlags, environment: Environment): ServerConfig {
  const env = new Variables(environment);
  const home = environment.HOME || homedir();
  const dataDirectory = dataDirectoryOf(home);
  const host = parseHost(flags.host ?? "127.0.0.1");
  const port = flags.port !== undefined ? parsePort("--port", flags.port, 1) : env.port("PORT", 14321);
  const proxyPort = flags.mitmPort !== undefined ? parsePort("--mitm-port", flags.mitmPort, 0) : 14322;
  if (proxyPort !== 0 && proxyPort === port) {
    throw invalid("--mitm-port", String(proxyPort), "a port other than the API's, or 0 to switch the proxy off");
  }
  const address = env.baseUrl("AGENT_VAULT_ADDR");
  const config: ServerConfig = {
    host,
    port,
    proxyPort,
    dataDirectory,
    database: parseDatabase(flags.databaseUrl, env, dataDirectory),
    log: {
      level: parseLogLevel(flags.logLevel, env),
      format: env.oneOf("LOG_FORMAT", ["text", "json"], "text"),
    },
    baseUrl: address ?? derivedBaseUrl(environment.FLY_APP_NAME, host, port),
    isBaseUrlExplicit: address !== undefined,
    maxRequestBytes:
      flags.maxRequestBytes !== undefined
        ? parseInteger("--max-request-bytes", flags.maxRequestBytes, 1)
        : env.integer("AGENT_VAULT_MAX_REQUEST_BYTES", defaultRequestLimit, 1),
    maxResponseBytes:
      flags.maxResponseBytes !== undefined
        ? parseInteger("--max-response-bytes", flags.maxResponseBytes, 0)
        : env.integer("AGENT_VAULT_MAX_RESPONSE_BYTES", 0, 0),
    trustedProxies: env.networks("AGENT_VAULT_TRUSTED_PROXIES"),
    network: parseNetwork(env),
    agentHop: parseAgentHop(env),
    connections: parseConnections(env),
    metricsToken: parseMetricsToken(env),
    artifactsDirectory: env.path("AGENT_VAULT_ARTIFACTS_DIR"),
    telemetry: parseTelemetry(env),
    egress: parseEgress(env, environment, { host, ports: [port, proxyPort] }),
    upstreamTrust: {
      extraFiles: [env.path("AGENT_VAULT_UPSTREAM_CA_FILE"), env.path("NODE_EXTRA_CA_CERTS")].filter(
        (file) => file !== undefined,
      ),
      replacementFile: env.path("SSL_CERT_FILE"),
      replacementDirectories: (env.text("SSL_CERT_DIR") ?? "").split(":").filter((directory) => directory !== ""),
    },
    rateLimit: parseRateLimit(env),
    logRetention: {
      maxAgeHours: env.optionalNumber("AGENT_VAULT_LOGS_MAX_AGE_HOURS"),
      maxRowsPerVault: env.optionalInteger("AGENT_VAULT_LOGS_MAX_ROWS_PER_VAULT", 0),
      isLocked: env.flag("AGENT_VAULT_LOGS_RETENTION_LOCK"),
    },
    isDevMode: env.flag("AGENT_VAULT_DEV_MODE"),
    smtp: parseSmtp(env),
    guardsSetup: !isLoopbackHost(host) && !env.flag("AGENT_VAULT_OPEN_SETUP"),
  };
  return deepFreeze(config);
}

/** The database for logs and messages: never a password. */
export function describeDatabase(database: DatabaseConfig): string {
  if (database.kind === "sqlite") return database.path;
  const url = new URL(database.url);
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** Does a server bound to `host` listen on every address of this machine? */
export function isWildcard(host: string): boolean {
  return parseIp(host)?.every((byte) => byte === 0) === true;
}

/** Where this machine reaches a server bound to `host`: a wildcard is no address to call, the loopback of its family is. */
export function localUrl(host: string, port: number): string {
  const loopback = host.includes(":") ? "::1" : "127.0.0.1";
  return `http://${formatAuthority({ host: isWildcard(host) ? loopback : host, port })}`;
}

function parseHost(value: string): string {
  const bare = value.startsWith("[") && value.endsWith("]") ? value.slice(1, -1) : value;
  if (isIP(bare) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(bare)) return bare;
  throw invalid("--host", value, "an IP address or a host name without a port, such as 127.0.0.1, 0.0.0.0 or ::");
}

function parseLogLevel(flag: string | undefined, env: Variables): LogLevel {
  const [name, value] =
    flag !== undefined ? ["--log-level", flag] : ["AGENT_VAULT_LOG_LEVEL", env.text("AGENT_VAULT_LOG_LEVEL") ?? "info"];
  const level = value.trim().toLowerCase();
  if (level === "info" || level === "debug") return level;
  throw invalid(name, value, "info or debug");
}

function parseDatabase(flag: string | undefined, env: Variables, dataDirectory: string): DatabaseConfig {
  const [name, url] =
    flag !== undefined && flag !== "" ? ["--database-url", flag] : ["DATABASE_URL", env.text("DATABASE_URL")];
  if (url === undefined) return { kind: "sqlite", path: join(dataDirectory, "agent-vault.db") };
  // The value may hold a password, so no message shows it.
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url)) {
    throw new InvalidInput("invalid_configuration", `${name} is not a PostgreSQL address`, {
      hint: `use the form postgres://user:password@host:5432/database, or leave ${name} out for the embedded SQLite`,
    });
  }
  // Programs that pool like Go's also have a number of idle connections to keep. postgres.js closes by idleness alone.
  env.integer("DB_MAX_IDLE_CONNS", 10, 0);
  return {
    kind: "postgres",
    url,
    maxOpenConnections: env.integer("DB_MAX_OPEN_CONNS", 25, 1),
    maxLifetimeMs: env.duration("DB_CONN_MAX_LIFETIME") ?? 5 * 60_000,
  };
}

function derivedBaseUrl(flyApp: string | undefined, host: string, port: number): string {
  return flyApp ? `https://${flyApp}.fly.dev` : localUrl(host, port);
}

function parseRateLimit(env: Variables): ServerConfig["rateLimit"] {
  const profile = env.oneOf("AGENT_VAULT_RATELIMIT_PROFILE", rateLimitProfiles, "default");
  const knobs: Partial<Record<RateLimitTier, RateLimitKnobs>> = {};
  for (const tier of rateLimitTiers) {
    const prefix = `AGENT_VAULT_RATELIMIT_${tier}`;
    const found = {
      rate: env.optionalNumber(`${prefix}_RATE`),
      burst: env.optionalInteger(`${prefix}_BURST`, 0),
      windowMs: env.duration(`${prefix}_WINDOW`),
      max: env.optionalInteger(`${prefix}_MAX`, 0),
      concurrency: env.optionalInteger(`${prefix}_CONCURRENCY`, 0),
    };
    const given = Object.entries(found).filter(([, value]) => value !== undefined);
    if (given.length > 0) knobs[tier] = Object.fromEntries(given) as RateLimitKnobs;
  }
  return { profile, isLocked: env.flag("AGENT_VAULT_RATELIMIT_LOCK"), knobs };
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === "object" && inner !== null) deepFreeze(inner);
  return Object.freeze(value);
}
