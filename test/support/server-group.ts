/** Built binaries on one database, as people run them: one on a file of its own, or several on one PostgreSQL. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BinaryServer, startBinaryServer } from "./binary.ts";
import { createPostgresDatabase } from "./postgres.ts";

export interface ApiAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Headers;
}

export interface ApiCall {
  readonly token?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One more than one server is as good as many. */
const sizes = { sqlite: 1, postgres: 2 } as const;

export class ServerGroup implements AsyncDisposable {
  readonly #homes: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #dropDatabase: () => Promise<void>;
  #servers: readonly BinaryServer[] = [];
  #turn = 0;

  private constructor(homes: readonly string[], env: Readonly<Record<string, string>>, drop: () => Promise<void>) {
    this.#homes = homes;
    this.#env = env;
    this.#dropDatabase = drop;
  }

  static async start(
    engine: keyof typeof sizes,
    env: Readonly<Record<string, string>> = { AGENT_VAULT_RATELIMIT_PROFILE: "off" },
  ): Promise<ServerGroup> {
    const database = engine === "postgres" ? await createPostgresDatabase("empty") : undefined;
    const homes = await Promise.all(
      Array.from({ length: sizes[engine] }, () => mkdtemp(join(tmpdir(), "agent-vault-group-"))),
    );
    const url = database === undefined ? {} : { DATABASE_URL: database.url };
    const group = new ServerGroup(homes, { ...env, ...url }, async () => database?.drop());
    await group.restart();
    return group;
  }

  get servers(): readonly BinaryServer[] {
    return this.#servers;
  }

  /** Ends all of them, then starts them anew on the same data: nothing that was in memory is left. */
  async restart(): Promise<void> {
    await this.#stop();
    // At once: the first start of a database is a race as well.
    this.#servers = await Promise.all(this.#homes.map((home) => startBinaryServer({ home, env: this.#env })));
  }

  /** One call to one of the servers, each in turn. */
  async call(method: string, path: string, { token, body, headers = {} }: ApiCall = {}): Promise<ApiAnswer> {
    this.#turn += 1;
    const server = this.#servers[this.#turn % this.#servers.length] as BinaryServer;
    const response = await fetch(`${server.apiUrl}${path}`, {
      method,
      headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type") === "application/json";
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : {} };
  }

  /** `count` calls at the same moment, spread over the servers. */
  atOnce(count: number, call: (index: number) => Promise<ApiAnswer>): Promise<readonly ApiAnswer[]> {
    return Promise.all(Array.from({ length: count }, (_, index) => call(index)));
  }

  /** @throws when the answer is not the one that the test builds on. */
  async expect(status: number, method: string, path: string, call: ApiCall = {}): Promise<Record<string, unknown>> {
    const answer = await this.call(method, path, call);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Waits until all servers know that there is an owner: one that another made is noticed within two seconds. */
  async initialized(): Promise<void> {
    for (const server of this.#servers) {
      for (;;) {
        const status = (await (await fetch(`${server.apiUrl}/v1/status`)).json()) as { initialized: boolean };
        if (status.initialized) break;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Everything that the servers wrote. */
  log(): string {
    return this.#servers.map((server) => server.log()).join("\n");
  }

  /** The newest code that one of the servers showed its operator for an address. */
  codeFor(email: string): string {
    const lines = this.log().split("\n");
    const line = lines.findLast((text) => text.includes(email) && /(?<!\d)\d{6}(?!\d)/.test(text)) ?? "";
    return /(?<!\d)\d{6}(?!\d)/.exec(line.replace(email, ""))?.[0] ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    for (const home of this.#homes) await rm(home, { recursive: true, force: true });
    await this.#dropDatabase();
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    this.#servers = [];
  }
}

/** How many answers had each status. */
export function tally(answers: readonly ApiAnswer[]): Readonly<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}
