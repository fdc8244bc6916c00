/**
 * The composition root: database → keys → domain → the two doors, and back again when the server stops. Nothing else
 * builds these objects; nothing here decides anything.
 */
import { createServer } from "node:net";
import { join } from "node:path";
import type { SecureContext } from "node:tls";
import type { DatabaseConfig, ServerConfig } from "./config.ts";
import type { Keyring } from "./crypto/keyring.ts";
import { Secret } from "./crypto/secret.ts";
import { setupSecretOf } from "./domain/actors/setup.ts";
import { type Clock, systemClock } from "./domain/clock.ts";
import { Domain } from "./domain/domain.ts";
import { startHousekeeping } from "./domain/housekeeping.ts";
import { JournalRetention } from "./domain/journal-retention.ts";
import { followStoredLimits } from "./domain/limits/follow.ts";
import { loadCatalog } from "./domain/services/catalog.ts";
import { type MasterPasswordSource, openKeyring } from "./domain/unlock.ts";
import type { SnapshotSource } from "./domain/vaults/snapshot.ts";
import { AppError, Conflict, InvalidInput, messageOf } from "./errors.ts";
import { startApi } from "./http/app.ts";
import { buildApi } from "./http/build-api.ts";
import type { Logger } from "./log.ts";
import { formatAuthority } from "./net/address.ts";
import { resolveWithServers, resolveWithSystem } from "./net/dns.ts";
import { DnsCache } from "./net/dns-cache.ts";
import { Outbound } from "./net/outbound.ts";
import { NetworkPolicy } from "./net/policy.ts";
import { SmtpTransport } from "./net/smtp.ts";
import { UpstreamTrust } from "./net/trust.ts";
import type { VaultNetwork } from "./net/vault-network.ts";
import type { ProxyListener } from "./proxy/listener.ts";
import { listAssets, readAssetText } from "./runtime/assets.ts";
import { openDataDirectory } from "./runtime/files.ts";
import { Metrics } from "./runtime/metrics.ts";
import { Spool } from "./runtime/spool.ts";
import { Stops } from "./runtime/stops.ts";
import { observeDns, observeDomain, observeProcess, startedAtMs } from "./server/metrics.ts";
import { openHopFiles, startProxyDoor } from "./server/proxy-door.ts";
import { Artifacts } from "./storage/artifacts.ts";
import { type Change, Changes } from "./storage/changes.ts";
import { type Database, openDatabase } from "./storage/database.ts";
import { MemoryEphemeral } from "./storage/ephemeral-memory.ts";
import { Telemetry } from "./telemetry/telemetry.ts";

export interface ServerOptions {
  readonly config: ServerConfig;
  readonly masterPassword: MasterPasswordSource;
  /** For the login at the mail server; the configuration holds everything else about it. */
  readonly smtpPassword?: Secret | undefined;
  readonly log: Logger;
  /** Writes one line where the operator sees it. */
  readonly output: (line: string) => void;
  readonly clock?: Clock;
}

export interface RunningServer {
  readonly apiPort: number;
  /** Undefined when the proxy is switched off or its port could not be had; 0 when it is on its socket alone. */
  readonly proxyPort: number | undefined;
  /** Does this instance have an owner yet? */
  isInitialized(): Promise<boolean>;
  /** Creates the first owner; for a server that is started at a terminal. */
  readonly domain: Domain;
  /**
   * Stops accepting at the proxy, then at the API, and lets requests end within the configured time each; writes the journal,
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
  const { drainMs } = config.connections;
  const stops = new Stops(log);
  try {
    await requireFreePort(config);
    const hopFiles = await openHopFiles(config, log);
    stops.push(() => hopFiles?.stop());
    const policy = new NetworkPolicy(config.network);
    const trust = new UpstreamTrust(config.upstreamTrust);
    const { dnsServers, proxy: egress } = config.egress;
    // The usual variables may have come from anywhere: the operator is to see that they count.
    if (egress) log.info("upstreams are reached through a proxy", egress.describe());
    for (const network of [...config.network.allowlist, ...config.network.vaultAllowlist]) {
      if (network.endsWith("/0")) log.warn("a network allowlist opens every address", { network });
    }
    const resolve = dnsServers.length === 0 ? resolveWithSystem : resolveWithServers(dnsServers);
    const dns = new DnsCache({ resolve });
    const outbound = new Outbound({
      policy,
      trust: trust.context,
      contextFor: (identity) => trust.contextFor(identity),
      egress,
      dns,
      networkOf: (vaultId) => networkOf(domain.snapshots, vaultId),
    });
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
      outbound,
      baseUrl: config.baseUrl,
      limits: config.rateLimit,
      ephemeral: new MemoryEphemeral(),
      allowsInternalNames: config.isDevMode,
      journalSpool: await openJournalSpool({ database, config, log }),
      mayOpenNetwork: (network) => policy.mayOpen(network),
      mailTransport: openMailTransport(options, trust.context),
      output: options.output,
      guardsSetup: config.guardsSetup,
      artifacts: config.artifactsDirectory ? await Artifacts.open(config.artifactsDirectory) : undefined,
    });
    stops.push(() => domain.close(), { withinMs: closeWithinMs });
    // After the snapshots have been told, which have watched for longer.
    stops.push(changes.watch((change) => recheckConnections(outbound, change, log)));
    changes.start();
    stops.push(() => changes.stop(), { withinMs: quitWithinMs });
    stops.push(await followStoredLimits({ settings: domain.settings, limits: domain.limits, changes, log }));
    const expireProposals = () => domain.reviews.expireOverdue();
    const advanceRotation = () => domain.authorityRotation.advance();
    const { reminders } = domain;
    const stopHousekeeping = startHousekeeping({ database, clock, log, reminders, expireProposals, advanceRotation });
    stops.push(stopHousekeeping, { withinMs: quitWithinMs });
    await domain.checkpoints.publicKey();
    stops.push(domain.checkpoints.start(), { withinMs: signWithinMs });
    const retention = new JournalRetention({ database, clock, log, config: config.logRetention });
    retention.start();
    stops.push(() => retention.stop(), { withinMs: quitWithinMs });

    const metrics = new Metrics();
    stops.push(observeProcess(metrics));
    observeDomain(metrics, domain);
    observeDns(metrics, dns);
    const telemetry = startTelemetry(options, metrics);
    stops.push(() => telemetry?.close());
    let proxy: ProxyListener | undefined;
    let rootsPem = () => "";
    const api = await startApi(
      buildApi({
        database,
        domain,
        config,
        log,
        catalog: loadCatalog(readCatalogFiles()),
        metrics,
        skill: readAssetText("skills/agent-vault-cli/SKILL.md"),
        proxyAuthority: () =>
          proxy === undefined
            ? undefined
            : { pem: rootsPem(), port: proxy.port, hasTls: config.agentHop.tls !== undefined },
      }),
      { host: config.host, port: config.port },
    ).catch((error: unknown) => {
      throw cannotListen(error, "--port", config.host, config.port);
    });
    stops.push(() => api.close({ graceMs: drainMs }));
    // Before the API waits for its answers: these end only when they are told to.
    stops.push(() => domain.tails.close());
    // Before the listener closes, which waits for answers under way.
    stops.push(() => domain.proposalWaiting.close());
    policy.protect({ host: config.host, port: api.port });
    if (config.proxyPort !== 0 || config.agentHop.socket !== undefined) {
      try {
        const started = await startProxyDoor({
          config,
          database,
          keyring,
          clock,
          log,
          domain,
          changes,
          tracing: telemetry?.tracing,
          outbound,
          metrics,
          hopFiles,
        });
        ({ proxy, rootsPem } = started);
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
      close: () => stops.run(),
    };
  } catch (error) {
    await stops.run();
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

/** A database that is away must not keep the server from ending before it is killed. The journal has five seconds. */
const closeWithinMs = 6_000;
const signWithinMs = 2_000;
const quitWithinMs = 1_000;

/** 128 MiB: some 250,000 requests. */
const maxSpoolBytes = 128 * 1024 * 1024;

interface SpoolOrigin {
  readonly database: Database;
  readonly config: ServerConfig;
  readonly log: Logger;
}

/**
 * The file that keeps the journal while the database is away; a server whose disk cannot be written does without. Named
 * after the database, so that what was meant for one never ends in another that is used from the same home later.
 */
async function openJournalSpool({ database, config, log }: SpoolOrigin): Promise<Spool | undefined> {
  const { instance_id: id } = await database.db.selectFrom("instance").select("instance_id").executeTakeFirstOrThrow();
  const path = join(config.dataDirectory, `journal-spill-${id}.ndjson`);
  try {
    await openDataDirectory(config.dataDirectory);
    return Spool.open({ path, maxBytes: maxSpoolBytes });
  } catch (error) {
    log.warn("the journal has no file for when the database is away", { path, reason: messageOf(error) });
    return undefined;
  }
}

/** Has anybody registered with this database? */
export async function hasAccounts(config: ServerConfig, log: Logger): Promise<boolean> {
  return withLocalDatabase(config, log, async ({ db }) => {
    const found = await db.selectFrom("users").select("id").limit(1).executeTakeFirst();
    return found !== undefined;
  });
}

/** What the first account of a server takes that others can reach; here for whoever starts it at its terminal. */
export function setupSecret(database: Database, keyring: Keyring): Promise<string> {
  return setupSecretOf(database, keyring);
}

/** A password that was typed or piped, so that nothing prints it from here on. */
export function secretOf(text: string): Secret {
  return new Secret(text);
}

/** Undefined where nothing is told to anybody. */
function startTelemetry({ config, log }: ServerOptions, metrics: Metrics): Telemetry | undefined {
  if (config.telemetry === undefined) return undefined;
  const { traces, metrics: told } = config.telemetry;
  log.info("telemetry is told", { traces: traces?.target.url.host, metrics: told?.target.url.host });
  return new Telemetry({ config: config.telemetry, metrics, log, startMs: startedAtMs() });
}

/** At once where the vault's picture is in memory, as it is after a request was decided. */
function networkOf(
  snapshots: SnapshotSource,
  vaultId: string,
): VaultNetwork | undefined | Promise<VaultNetwork | undefined> {
  const current = snapshots.current(vaultId);
  return current ? current.network : snapshots.load(vaultId).then(({ network }) => network);
}

/** A connection that is already open was allowed by the rules of its time. */
function recheckConnections(outbound: Outbound, change: Change, log: Logger): void {
  const checking =
    change.kind === "vault"
      ? outbound.recheck(change.vaultId)
      : change.kind === "everything"
        ? outbound.recheckAll()
        : undefined;
  checking?.catch((error: unknown) => log.error("open connections could not be checked", { error }));
}

/** Undefined where no mail is configured: codes then go to the operator, and invitations show their link. */
function openMailTransport({ config, smtpPassword, log }: ServerOptions, trust: SecureContext) {
  const { smtp } = config;
  if (smtp.state === "incomplete") log.warn("no mail is sent: the configuration is incomplete", { set: smtp.missing });
  if (smtp.state !== "on") return undefined;
  const { username: user } = smtp;
  if (user !== undefined && smtp.security === "none") {
    log.warn("no mail can be sent: the login at the mail server needs TLS", { change: "AGENT_VAULT_SMTP_TLS_MODE" });
  }
  const login = user === undefined ? undefined : { user, password: () => smtpPassword?.reveal() ?? "" };
  return new SmtpTransport({ ...smtp, login, trust });
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
