import { lookup } from "node:dns/promises";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BinaryServer, startBinaryServer } from "./binary.ts";
import { type Answer, type RecordingUpstream, startRecordingUpstream } from "./recording-upstream.ts";
import { TestAuthority } from "./test-authority.ts";

/** A row of `GET /v1/vaults/{name}/logs`. */
export interface JournalRow {
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly matched_service: string;
  readonly credential_keys: readonly string[];
  readonly status: number;
  readonly error_code: string;
}

/** The built binary with an owner logged in, and a TLS upstream whose authority it trusts. */
export interface BrokeredUpstream extends AsyncDisposable {
  readonly server: BinaryServer;
  readonly upstream: RecordingUpstream;
  /** `api.upstream.test:PORT`, or the same with another of `names`. */
  host(name?: string): string;
  /** Waits until the journal of the default vault has a row for this path. Rows are written in batches. */
  journalRow(path: string): Promise<JournalRow>;
}

/** What the test upstreams are called; scripts/test.mjs sees to it that the machine knows these names. */
export const upstreamNames = ["api.upstream.test", "git.upstream.test", "other.upstream.test"] as const;

export async function startBrokeredUpstream(options: {
  readonly answer?: Answer;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<BrokeredUpstream> {
  for (const name of upstreamNames) await requireName(name);
  const folder = await mkdtemp(join(tmpdir(), "agent-vault-upstream-"));
  const authority = await TestAuthority.create();
  const trusted = join(folder, "upstream-ca.pem");
  await writeFile(trusted, authority.pem);
  const { answer } = options;
  const upstream = await startRecordingUpstream({ authority, names: upstreamNames, ...(answer && { answer }) });
  const server = await startBinaryServer({
    env: {
      AGENT_VAULT_UPSTREAM_CA_FILE: trusted,
      AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8",
      AGENT_VAULT_RATELIMIT_PROFILE: "off",
      ...options.env,
    },
  });
  await registerOwner(server);
  return {
    server,
    upstream,
    host: (name = "api.upstream.test") => `${name}:${upstream.port}`,
    journalRow: (path) => waitForRow(server, path),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await upstream.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Registers the first person, who then is logged in from the server's home. */
export async function registerOwner(server: BinaryServer): Promise<void> {
  const args = ["auth", "register", "--address", server.apiUrl, "--email", "owner@example.com", "--password-stdin"];
  await server.cli(args, { stdin: "correct-pass-1\n" });
}

async function waitForRow(server: BinaryServer, path: string): Promise<JournalRow> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const { logs } = (await server.api("GET", "/v1/vaults/default/logs?limit=200")) as { logs: JournalRow[] };
    const row = logs.find((candidate) => candidate.path === path);
    if (row) return row;
    if (Date.now() > deadline) throw new Error(`No journal row for ${path} in ${JSON.stringify(logs)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function requireName(name: string): Promise<void> {
  const { address } = await lookup(name, { family: 4 }).catch(() => ({ address: "nowhere" }));
  if (address !== "127.0.0.1") {
    throw new Error(
      `${name} leads to ${address}, not to 127.0.0.1: npm test adds it to /etc/hosts, as root or with sudo`,
    );
  }
}
