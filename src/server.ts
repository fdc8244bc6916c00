/**
 * The composition root: database → keys → domain → the two doors, and back again when the server stops. Nothing else
 * builds these objects; nothing here decides anything.
 */
import { createServer } from "node:net";
import type { DatabaseConfig, ServerConfig } from "./config.ts";
import type { Keyring } from "./crypto/keyring.ts";
import { Secret } from "./crypto/secret.ts";
import { Authority } from "./domain/authority.ts";
import { type Clock, systemClock } from "./domain/clock.ts";
import { Domain } from "./domain/domain.ts";
import { startHousekeeping } from "./domain/housekeeping.ts";
import { JournalRetention } from "./domain/journal-retention.ts";
import { followStoredLimits } from "./domain/limits/follow.ts";
import { loadCatalog } from "./domain/services/catalog.ts";
import { type MasterPasswordSource, openKeyring } from "./domain/unlock.ts";
import { AppError, Conflict, InvalidInput, messageOf } from "./errors.ts";
import { startApi } from "./http/app.ts";
import { buildApi } from "./http/build-api.ts";
import type { Logger } from "./log.ts";
import { formatAuthority } from "./net/address.ts";
import { Outbound } from "./net/outbound.ts";
import { NetworkPolicy } from "./net/policy.ts";
import { openUpstreamTrust } from "./net/trust.ts";
import type { AuthFailures } from "./proxy/authenticate.ts";
import { type ProxyListener, startProxy } from "./proxy/listener.ts";
import { listAssets, readAssetText } from "./runtime/assets.ts";
import { Changes } from "./storage/changes.ts";
import { type Database, openDatabase } from "./storage/database.ts";

/** How long requests under way may take to end when the server is told to stop. */
const drainMs = 5_000;

export interface ServerOptions {
  readonly config: ServerConfig;
  readonly masterPassword: MasterPasswordSource;
  readonly log: Logger;
  /** Writes one line where the operator sees it. */
  readonly output: (line: string) => void;
  readonly clock?: Clock;
}

export interface RunningServer {
  readonly apiPort: number;
  /** Undefined when the proxy is switched off or its port could not be had. */
  readonly proxyPort: number | undefined;
  /** Does this instance have an owner yet? */
  isInitialized(): Promise<boolean>;
  /** Creates the first owner; for a server that is started at a terminal. */
  readonly domain: Domain;
  /**
   * Stops accepting at the proxy, then at the API, and lets requests end within 5 seconds each; writes the journal,
   * wipes the keys, closes the database. A step that fails is logged and keeps none of the others from being taken.
   */
  close(): Promise<void>;
}

/**
 * Starts everything. When it rejects, nothing is left running and nothing half-written.
 * @throws {AppError} a port in use, a database that is not ours, a wrong master password, a bad CA file.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, log } = options;
  const clock = options.clock ?? systemClock;
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        log.error("a part of the server did not stop as it should", { error: messageOf(error) });
      }
    }
  };
  try {
    await requireFreePort(config);
    const policy = new NetworkPolicy(config.network);
    const outbound = new Outbound({ policy, trust: openUpstreamTrust(config.upstreamTrust) });
    const database = await openDatabase(databaseOptions(config.database), log);
    stops.push(() => database.close());
    const keyring = await openKeyring(database, options.masterPassword, log);
    stops.push(() => keyring.destroy());
    const changes = new Changes(database, log);
    const domain = new Domain({
      database,
      changes,
      keyring,
      clock,
      log,
      baseUrl: config.baseUrl,
      limits: config.rateLimit,
      allowsInternalNames: config.isDevMode,
      output: options.output,
    });
    stops.push(() => domain.close());
    changes.start();
    stops.push(() => changes.stop());
    stops.push(await followStoredLimits({ settings: domain.settings, limits: domain.limits, changes, log }));
    stops.push(startHousekeeping({ database, clock, log }));
    await domain.checkpoints.publicKey();
    stops.push(domain.checkpoints.start());
    const retention = new JournalRetention({ database, clock, log, config: config.logRetention });
    retention.start();
    stops.push(() => retention.stop());

    let proxy: ProxyListener | undefined;
    let rootPem = "";
    const api = await startApi(
      buildApi({
        database,
        domain,
        config,
        log,
        catalog: loadCatalog(readCatalogFiles()),
        skill: readAssetText("skills/agent-vault-cli/SKILL.md"),
        proxyAuthority: () => (proxy === undefined ? undefined : { pem: rootPem, port: proxy.port }),
      }),
      { host: config.host, port: config.port },
    ).catch((error: unknown) => {
      throw cannotListen(error, "--port", config.host, config.port);
    });
    stops.push(() => api.close({ graceMs: drainMs }));
    policy.protect({ host: config.host, port: api.port });
    if (config.proxyPort !== 0) {
      try {
        const authority = await openAuthority({ database, keyring, clock, config });
        rootPem = authority.rootPem;
        proxy = await startProxy({
          host: config.host,
          port: config.proxyPort,
          scopes: domain.scopes,
          snapshots: domain.snapshots,
          authority,
          journal: domain.journal,
          outbound,
          log,
          clock,
          baseUrl: config.baseUrl,
          maxRequestBytes: config.maxRequestBytes,
          maxResponseBytes: config.maxResponseBytes,
          authFailures: authFailuresOf(domain),
        });
        const running = proxy;
        stops.push(() => running.close({ graceMs: drainMs }));
      } catch (error) {
        // The API goes on without it (spec of the proxy, section 2), and says so where the CA is asked for.
        const reason = cannotListen(error, "--mitm-port", config.host, config.proxyPort);
        log.warn("the proxy is off", { reason: reason.message, try: reason.hint });
      }
    }
    return {
      apiPort: api.port,
      proxyPort: proxy?.port,
      isInitialized: () => domain.accounts.isInitialized(),
      domain,
      close: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Opens the database without a server around it, for commands that run on the server's machine while it is stopped.
 * Migrates like a start; closes it however `work` ends.
 */
export async function withLocalDatabase<T>(
  config: ServerConfig,
  log: Logger,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const database = await openDatabase(databaseOptions(config.database), log);
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/** A password that was typed or piped, so that nothing prints it from here on. */
export function secretOf(text: string): Secret {
  return new Secret(text);
}

/** Wrong tokens at the proxy, with the settings of the window for wrong passwords at the API (spec of the proxy, section 9.1). */
function authFailuresOf({ limits }: Domain): AuthFailures {
  return {
    check: (ip) => {
      const verdict = limits.peekAuth(`mitm:${ip}`);
      return verdict.isAllowed ? undefined : verdict.retryAfterSeconds;
    },
    record: (ip) => void limits.recordAuth(`mitm:${ip}`),
  };
}

interface AuthorityOptions {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly config: ServerConfig;
}

function openAuthority({ database, keyring, clock, config }: AuthorityOptions): Promise<Authority> {
  return Authority.open(database, keyring, clock, { ownHost: new URL(config.baseUrl).hostname });
}

function databaseOptions(database: DatabaseConfig) {
  return database.kind === "sqlite"
    ? { path: database.path }
    : { url: database.url, maxOpenConnections: database.maxOpenConnections, maxLifetimeMs: database.maxLifetimeMs };
}

function readCatalogFiles(): ReadonlyMap<string, string> {
  const files = listAssets("catalog").filter((file) => file.endsWith(".json") && file !== "schema.json");
  return new Map(files.map((file) => [file, readAssetText(`catalog/${file}`)]));
}

/**
 * Looks whether the API's port can be had, before anything is made: a start that fails for its port must not leave a new
 * database and key behind. Another program may still take it in between; the real listener then says so.
 * @throws {AppError} `port_in_use`, `cannot_listen`.
 */
export function requireFreePort({ host, port }: ServerConfig): Promise<void> {
  const probe = createServer();
  return new Promise((resolve, reject) => {
    probe.once("error", (error) => reject(cannotListen(error, "--port", host, port)));
    probe.listen({ host, port }, () => probe.close(() => resolve()));
  });
}

/** What the system says about a port, as a sentence that names the flag; an error that is one already stays as it is. */
function cannotListen(error: unknown, flag: string, host: string, port: number): AppError {
  if (error instanceof AppError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const where = formatAuthority({ host, port });
  if (code === "EADDRINUSE") {
    return new Conflict("port_in_use", `${where} is already in use`, {
      hint: `stop what listens there, or choose another port with ${flag}`,
      cause: error,
    });
  }
  if (code === "EADDRNOTAVAIL" || code === "EACCES" || code === "ENOTFOUND") {
    return new InvalidInput("cannot_listen", `Cannot listen on ${where}: ${messageOf(error)}`, {
      hint: `give --host an address of this machine, and ${flag} a port that this user may open`,
      cause: error,
    });
  }
  return new Conflict("cannot_listen", `Cannot listen on ${where}: ${messageOf(error)}`, { cause: error });
}
