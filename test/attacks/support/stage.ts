import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BinaryServer, startBinaryServer } from "../../support/binary.ts";
import { registerOwner } from "../../support/brokered-upstream.ts";
import { TestAuthority } from "../../support/test-authority.ts";
import { RawUpstream } from "./raw-upstream.ts";
import { Wire } from "./wire.ts";

/** The names that /etc/hosts gives to 127.0.0.1 for the tests. */
export const hosts = { api: "api.upstream.test", git: "git.upstream.test", other: "other.upstream.test" } as const;

/** Nothing else in a test run looks like this, so that a search for it finds leaks and nothing but leaks. */
export const secret = "sk_live_DoNotLeak7f3a9c21";

/** The built binary, an owner, a token for the default vault, and two upstreams: one over TLS, one without. */
export interface Stage extends AsyncDisposable {
  readonly server: BinaryServer;
  readonly authority: TestAuthority;
  readonly secure: RawUpstream;
  readonly plain: RawUpstream;
  /** PEM of the broker's root, which agents trust. */
  readonly ca: string;
  /** A token of the default vault. */
  readonly token: string;
  /** Replaces the services of a vault, the default one unless told otherwise. */
  services(services: readonly object[], vault?: string): Promise<void>;
  newToken(vault?: string): Promise<string>;
  newVault(name: string, credentials?: Readonly<Record<string, string>>): Promise<void>;
  credentials(values: Readonly<Record<string, string>>, vault?: string): Promise<void>;
  unmatchedHosts(policy: "passthrough" | "deny", vault?: string): Promise<void>;
  /** A connection on which CONNECT was answered with 200 and TLS is up. */
  tunnel(options?: TunnelOptions): Promise<Wire>;
  /** One request in a tunnel of its own; `target` is a path. */
  ask(
    target: string,
    options?: TunnelOptions & { readonly head?: string; readonly body?: string },
  ): ReturnType<Wire["answer"]>;
  /** One request to the upstream without TLS, in absolute form on a connection of its own. */
  askPlain(
    target: string,
    options?: TunnelOptions & { readonly head?: string; readonly body?: string; readonly method?: string },
  ): ReturnType<Wire["answer"]>;
  /** Everything that the broker wrote: log, files of its home (the database with them), journal of the vault. */
  everythingWritten(): Promise<string>;
}

export interface TunnelOptions {
  /** `host:port` of the CONNECT; the TLS upstream by the name `api.upstream.test` unless told otherwise. */
  readonly authority?: string;
  readonly token?: string;
  readonly vault?: string;
  /** What the ClientHello asks for: the host unless told otherwise, `null` for nothing. */
  readonly servername?: string | null;
}

/** A bearer service of the whole of a host, for its TLS port unless told otherwise. */
export function bearerService(host: string, more: object = {}): object {
  return { name: "upstream", host, auth: { type: "bearer", token: "UPSTREAM_TOKEN" }, ...more };
}

export async function setStage(
  options: { readonly env?: Readonly<Record<string, string>>; readonly maxOpenFiles?: number } = {},
): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), "agent-vault-stage-"));
  const authority = await TestAuthority.create();
  const trusted = join(folder, "upstream-ca.pem");
  await writeFile(trusted, authority.pem);
  const secure = await RawUpstream.start({ certificate: await authority.issue(Object.values(hosts)) });
  const plain = await RawUpstream.start();
  const server = await startBinaryServer({
    ...(options.maxOpenFiles !== undefined && { maxOpenFiles: options.maxOpenFiles }),
    env: {
      AGENT_VAULT_UPSTREAM_CA_FILE: trusted,
      AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8",
      AGENT_VAULT_RATELIMIT_PROFILE: "off",
      AGENT_VAULT_LOG_LEVEL: "debug",
      ...options.env,
    },
  });
  await registerOwner(server);
  const newToken = async (vault = "default") =>
    ((await server.api("POST", "/v1/sessions", { vault })) as { token: string }).token;
  const credentials = async (values: Readonly<Record<string, string>>, vault = "default") =>
    void (await server.api("POST", "/v1/credentials", { vault, credentials: values }));
  await credentials({ UPSTREAM_TOKEN: secret });
  const ca = await (await fetch(`${server.apiUrl}/v1/mitm/ca.pem`)).text();
  const token = await newToken();

  const tunnel = async (how: TunnelOptions = {}): Promise<Wire> => {
    const target = how.authority ?? `${hosts.api}:${secure.port}`;
    const wire = await Wire.dial(server.proxyPort);
    wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${proxyAuthorization(how, token)}\r\n`);
    const answer = await wire.answer("HEAD");
    if (answer.status !== 200) throw new Refused(answer.status, wire.pending);
    const host = target.slice(0, target.lastIndexOf(":"));
    return wire.startTls({ ca, servername: how.servername === null ? undefined : (how.servername ?? host) });
  };

  return {
    server,
    authority,
    secure,
    plain,
    ca,
    token,
    newToken,
    credentials,
    tunnel,
    services: async (services, vault = "default") =>
      void (await server.api("PUT", `/v1/vaults/${vault}/services`, { services })),
    newVault: async (name, values = {}) => {
      await server.api("POST", "/v1/vaults", { name });
      if (Object.keys(values).length > 0) await credentials(values, name);
    },
    unmatchedHosts: async (policy, vault = "default") =>
      void (await server.api("PATCH", `/v1/vaults/${vault}/settings`, { unmatched_host_policy: policy })),
    ask: async (target, how = {}) => {
      using wire = await tunnel(how);
      const host = how.authority ?? `${hosts.api}:${secure.port}`;
      wire.send(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${how.head ?? ""}\r\n${how.body ?? ""}`);
      return await wire.answer();
    },
    askPlain: async (target, how = {}) => {
      using wire = await Wire.dial(server.proxyPort);
      const host = how.authority ?? `${hosts.api}:${plain.port}`;
      const line = `${how.method ?? "GET"} http://${host}${target} HTTP/1.1\r\nHost: ${host}\r\n`;
      wire.send(`${line}${proxyAuthorization(how, token)}${how.head ?? ""}\r\n${how.body ?? ""}`);
      return await wire.answer(how.method);
    },
    everythingWritten: async () => {
      // Rows of the journal are written in batches.
      await new Promise((resolve) => setTimeout(resolve, 600));
      const journal = JSON.stringify(await server.api("GET", "/v1/vaults/default/logs?limit=200"));
      return [server.log(), journal, ...(await readAll(server.home))].join("\n");
    },
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await secure[Symbol.asyncDispose]();
      await plain[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The proxy said no to a CONNECT. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, rest: string) {
    super(`CONNECT was answered with ${status}: ${rest}`);
    this.status = status;
  }
}

export function basic(user: string, password = ""): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

/** The header line with a token, and a vault where one is named. */
export function proxyAuthorization(how: { readonly token?: string; readonly vault?: string }, token: string): string {
  return `Proxy-Authorization: ${basic(how.token ?? token, how.vault)}\r\n`;
}

/** Every file below a folder, latin1. */
async function readAll(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(files.map((file) => readFile(file, "latin1")));
}
