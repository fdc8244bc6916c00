import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { describe } from "vitest";
import { parseServerConfig } from "../../src/config.ts";
import { Keyring } from "../../src/crypto/keyring.ts";
import { uuidv7 } from "../../src/crypto/token.ts";
import { hashForStorage, type PasswordColumns } from "../../src/domain/actors/password.ts";
import type { Clock } from "../../src/domain/clock.ts";
import { Domain } from "../../src/domain/domain.ts";
import type { MailTransport } from "../../src/domain/mail.ts";
import { loadCatalog } from "../../src/domain/services/catalog.ts";
import { type ApiListener, startApi } from "../../src/http/app.ts";
import { buildApi } from "../../src/http/build-api.ts";
import { buildDocument } from "../../src/http/openapi/document.ts";
import type { Route } from "../../src/http/router.ts";
import { createLogger, type Logger } from "../../src/log.ts";
import { Outbound } from "../../src/net/outbound.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";
import { readAssetText } from "../../src/runtime/assets.ts";
import { Metrics } from "../../src/runtime/metrics.ts";
import { Changes } from "../../src/storage/changes.ts";
import { type Database, openDatabase } from "../../src/storage/database.ts";
import { MemoryEphemeral } from "../../src/storage/ephemeral-memory.ts";
import { ApiContract } from "./api-contract.ts";
import { createPostgresDatabase } from "./postgres.ts";

export const silentLog = createLogger({ level: "silent", format: "text" });
export const password = "correct-pass-1";

let contract: ApiContract | undefined;
let storedPassword: Promise<PasswordColumns> | undefined;

/** A clock that a test moves. It starts now, because PostgreSQL and certificates have clocks of their own. */
export class ManualClock implements Clock {
  #nowMs = Date.now();

  now(): number {
    return this.#nowMs;
  }

  advance(milliseconds: number): void {
    this.#nowMs += milliseconds;
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
  readonly text: string;
}

export interface Call {
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

/** The API over a real database and a real socket, as the server puts it together, without proxy and key provider. */
export class ApiServer implements AsyncDisposable {
  readonly database: Database;
  readonly changes: Changes;
  readonly domain: Domain;
  readonly clock = new ManualClock();
  /** Lines that the operator of the server sees. */
  readonly output: string[] = [];
  /** Everything the API answers. */
  readonly routes: readonly Route[];
  readonly #listener: ApiListener;

  private constructor(parts: {
    readonly database: Database;
    readonly changes: Changes;
    readonly domain: Domain;
    readonly clock: ManualClock;
    readonly output: string[];
    readonly routes: readonly Route[];
    readonly listener: ApiListener;
  }) {
    this.database = parts.database;
    this.changes = parts.changes;
    this.domain = parts.domain;
    this.clock = parts.clock;
    this.output = parts.output;
    this.routes = parts.routes;
    this.#listener = parts.listener;
  }

  /** @param database is not closed by the server. */
  static async start(
    database: Database,
    options: {
      readonly environment?: Record<string, string>;
      readonly mailTransport?: MailTransport;
      readonly outbound?: Outbound;
      readonly log?: Logger;
      /** What the server believes to listen on; it always listens on 127.0.0.1. */
      readonly host?: string;
      /** Shared by instances of one database, as a real start does it. */
      readonly keyring?: Keyring;
    } = {},
  ): Promise<ApiServer> {
    const config = parseServerConfig(
      { host: options.host },
      { HOME: tmpdir(), AGENT_VAULT_RATELIMIT_PROFILE: "off", ...options.environment },
    );
    const clock = new ManualClock();
    const output: string[] = [];
    const changes = new Changes(database, silentLog);
    const domain = new Domain({
      ephemeral: new MemoryEphemeral(),
      database,
      changes,
      keyring: options.keyring ?? (await randomKeyring()),
      clock,
      log: options.log ?? silentLog,
      outbound:
        options.outbound ?? new Outbound({ policy: new NetworkPolicy(config.network), trust: createSecureContext() }),
      baseUrl: config.baseUrl,
      limits: config.rateLimit,
      allowsInternalNames: false,
      mailTransport: options.mailTransport,
      output: (line) => output.push(line),
      guardsSetup: config.guardsSetup,
    });
    const app = buildApi({
      database,
      domain,
      config,
      log: options.log ?? silentLog,
      metrics: new Metrics(),
      catalog: loadCatalog(
        new Map(["stripe", "jira"].map((id) => [`${id}.json`, readAssetText(`catalog/${id}.json`)])),
      ),
      skill: "# Skill\n",
      proxyAuthority: () => undefined,
    });
    const listener = await startApi(app, { host: "127.0.0.1", port: 0 });
    return new ApiServer({ database, changes, domain, clock, output, routes: app.routes, listener });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** @throws when the answer is not one that the API's own description knows. */
  async call(method: string, path: string, call: Call = {}): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      redirect: "manual",
      headers: {
        ...(call.token !== undefined && { authorization: `Bearer ${call.token}` }),
        ...(call.body !== undefined && { "content-type": "application/json" }),
        ...call.headers,
      },
      ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
    });
    const text = await response.text();
    const { status, headers } = response;
    const violation = contractOf(this.routes).violation({ method, path, status, headers, text });
    if (violation !== undefined) throw new Error(violation);
    const isJson = response.headers.get("content-type") === "application/json";
    return {
      status: response.status,
      headers: response.headers,
      body: isJson ? (JSON.parse(text) as Record<string, unknown>) : {},
      text,
    };
  }

  /** @throws when the answer is not the one that the test builds on. */
  async expect(status: number, method: string, path: string, call: Call = {}): Promise<Record<string, unknown>> {
    const answer = await this.call(method, path, call);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  /** Registers the first user. */
  async registerOwner(email = "owner@example.com"): Promise<string> {
    return String((await this.expect(201, "POST", "/v1/auth/register", { body: { email, password } })).token);
  }

  /** Somebody with an account, signed in. Written down directly: the way through an invitation costs two hashes. */
  async addUser(email: string, role = "member"): Promise<string> {
    const now = new Date(this.clock.now()).toISOString();
    storedPassword ??= hashForStorage(password);
    const columns = await storedPassword;
    const id = uuidv7();
    const user = { id, email, ...columns, role, is_active: 1 as const, created_at: now, updated_at: now };
    return this.database.transaction(async (tx) => {
      await tx.insertInto("users").values(user).execute();
      const login = { userId: id, deviceLabel: undefined, caller: { ip: "", userAgent: "" } };
      return (await this.domain.sessions.issueLogin(tx, login)).token;
    });
  }

  async login(email: string): Promise<string> {
    return String((await this.expect(200, "POST", "/v1/auth/login", { body: { email, password } })).token);
  }

  async addAgent(owner: string, name: string, body: object = {}): Promise<string> {
    const agent = await this.expect(201, "POST", "/v1/agents", { token: owner, body: { name, ...body } });
    return String(agent.av_agent_token);
  }

  async addVault(token: string, name: string): Promise<string> {
    return String((await this.expect(201, "POST", "/v1/vaults", { token, body: { name } })).id);
  }

  async mint(token: string, vault: string): Promise<string> {
    return String((await this.expect(200, "POST", "/v1/sessions", { token, body: { vault } })).token);
  }

  /** The newest one-time code that the operator was shown for an address. */
  codeFor(email: string): string {
    const line = this.output.findLast((text) => text.includes(email)) ?? "";
    return /(?<!\d)\d{6}(?!\d)/.exec(line.replace(email, ""))?.[0] ?? "";
  }

  async close(): Promise<void> {
    await this.#listener.close({ graceMs: 1_000 });
    await this.domain.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Every server of a test has the same routes. */
function contractOf(routes: readonly Route[]): ApiContract {
  contract ??= new ApiContract(
    buildDocument(
      routes.map((route) => route.contract),
      "test",
    ),
  );
  return contract;
}

export function randomKeyring(): Promise<Keyring> {
  return Keyring.open([{ number: 1, raw: crypto.getRandomValues(new Uint8Array(32)) }]);
}

export type ScratchDatabase = Database & AsyncDisposable;

/**
 * Runs a suite on both engines. Unlike `describeEachDatabase` it leaves to the suite how long a database lives: what
 * signs people in is slow on purpose, and tests that do not disturb each other share a server.
 */
export function describeOnEachEngine(name: string, suite: (openScratch: () => Promise<ScratchDatabase>) => void): void {
  describe(`${name} (sqlite)`, () => suite(openScratchDatabase));
  describe(`${name} (postgres)`, () => suite(openScratchPostgres));
}

/** An empty SQLite database in a directory of its own. */
export async function openScratchDatabase(): Promise<ScratchDatabase> {
  const directory = mkdtempSync(join(tmpdir(), "agent-vault-test-"));
  const database = await openDatabase({ path: join(directory, "vault.db") }, silentLog);
  return Object.assign(database, {
    async [Symbol.asyncDispose]() {
      await database.close();
      rmSync(directory, { recursive: true, force: true });
    },
  });
}

async function openScratchPostgres(): Promise<ScratchDatabase> {
  const { url, drop } = await createPostgresDatabase();
  const database = await openDatabase({ url, maxOpenConnections: 5 }, silentLog);
  return Object.assign(database, {
    async [Symbol.asyncDispose]() {
      await database.close();
      await drop();
    },
  });
}
