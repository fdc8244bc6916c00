/** Programs that agents use: what each of them needs to go through the broker, and whether it does. */
import { join } from "node:path";
import { messageOf } from "../../errors.ts";
import { capture, type Environment, findCommand } from "../../runtime/process.ts";
import { type Check, check } from "./check.ts";
import { probeHost } from "./proxy-probe.ts";

interface KnownClient {
  readonly name: string;
  readonly command: string;
  /** What it reads, as far as it was tried out: docs/clients.md. */
  readonly variables: readonly string[];
  /** Makes it ask for `url`. */
  readonly probe?: (url: string) => readonly string[];
  /** In what it prints, when the broker answered it. */
  readonly proof?: RegExp;
  /** Its exit code for "not there": a module that is not installed. */
  readonly absentCode?: number;
  /** Added to its environment for the probe. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What usually helps when it does not reach the broker. */
  readonly hint?: string;
  /** Said where there is no probe. */
  readonly remark?: string;
}

/** The broker marks every answer that it makes itself. */
const marked = /x-agent-vault-proxy-error: *true/i;
const printed = /^broker$/m;
const fetchAndPrint = (url: string) =>
  `const answer = await fetch(${JSON.stringify(url)}); if (answer.headers.has("x-agent-vault-proxy-error")) console.log("broker");`;
const askInPython = (request: string) => (url: string) => ["-c", request, url];
const urllib = `import sys, urllib.request, urllib.error
try: urllib.request.urlopen(sys.argv[1], timeout=8)
except urllib.error.HTTPError as answer:
    if answer.headers.get("x-agent-vault-proxy-error"): print("broker")`;
const requests = `import sys
try: import requests
except ImportError: sys.exit(77)
if requests.get(sys.argv[1], timeout=8).headers.get("x-agent-vault-proxy-error"): print("broker")`;
const netHttp = `answer = Net::HTTP.get_response(URI(ARGV[0])); puts "broker" if answer["x-agent-vault-proxy-error"]`;

const knownClients: readonly KnownClient[] = [
  {
    name: "curl",
    command: "curl",
    variables: ["HTTPS_PROXY", "http_proxy", "CURL_CA_BUNDLE"],
    probe: (url) => ["-sS", "-i", "--max-time", "8", url],
    proof: marked,
  },
  {
    name: "wget",
    command: "wget",
    variables: ["https_proxy", "http_proxy", "WGETRC"],
    probe: (url) => ["-q", "-O", "-", "--server-response", "--tries=1", "--timeout=8", url],
    proof: marked,
  },
  {
    name: "git",
    command: "git",
    variables: ["HTTPS_PROXY", "GIT_SSL_CAINFO", "GIT_HTTP_PROXY_AUTHMETHOD"],
    probe: (url) => ["ls-remote", url],
    // It shows the status of an answer, not its headers; without the broker the name does not even resolve.
    proof: /returned error: (403|502)/,
  },
  {
    name: "node",
    command: "node",
    variables: ["HTTPS_PROXY", "NODE_USE_ENV_PROXY", "NODE_EXTRA_CA_CERTS"],
    probe: (url) => ["--input-type=module", "-e", fetchAndPrint(url)],
    proof: printed,
    hint: "update it: Node uses a proxy of its environment from 22.21 on; an older one goes straight out",
  },
  {
    name: "npm",
    command: "npm",
    variables: ["HTTPS_PROXY", "npm_config_cafile"],
    probe: (url) => ["view", "agent-vault-doctor", `--registry=${url}`, "--fetch-retries=0", "--no-update-notifier"],
    proof: /\bE(403|502)\b/,
  },
  {
    name: "deno",
    command: "deno",
    variables: ["HTTPS_PROXY", "DENO_CERT"],
    probe: (url) => ["eval", fetchAndPrint(url)],
    proof: printed,
  },
  {
    name: "bun",
    command: "bun",
    variables: ["HTTPS_PROXY", "NODE_EXTRA_CA_CERTS"],
    probe: (url) => ["-e", fetchAndPrint(url)],
    proof: printed,
  },
  {
    name: "python",
    command: "python3",
    variables: ["HTTPS_PROXY", "SSL_CERT_FILE"],
    probe: askInPython(urllib),
    proof: printed,
  },
  {
    name: "python-requests",
    command: "python3",
    variables: ["HTTPS_PROXY", "REQUESTS_CA_BUNDLE"],
    probe: askInPython(requests),
    proof: printed,
    absentCode: 77,
  },
  {
    name: "pip",
    command: "pip3",
    variables: ["HTTPS_PROXY", "PIP_CERT"],
    probe: (url) => [
      "-vv",
      "--no-input",
      "--retries=0",
      "download",
      "--no-deps",
      `--index-url=${url}`,
      "agent-vault-doctor",
    ],
    proof: /: (403 Client|502 Server) Error/,
  },
  {
    name: "ruby",
    command: "ruby",
    variables: ["http_proxy", "SSL_CERT_FILE"],
    probe: (url) => ["-rnet/http", "-ruri", "-e", netHttp, url],
    proof: printed,
  },
  {
    name: "go",
    command: "go",
    variables: ["HTTPS_PROXY", "SSL_CERT_FILE"],
    probe: () => ["list", "-m", "doctor.invalid/module@latest"],
    environment: { GOPROXY: `https://${probeHost}`, GONOSUMDB: "*", GOTOOLCHAIN: "local", GOFLAGS: "-mod=mod" },
    proof: /: (403 Forbidden|502 Bad Gateway)/,
  },
  { name: "cargo", command: "cargo", variables: ["HTTPS_PROXY", "CARGO_HTTP_CAINFO"] },
  {
    name: "java",
    command: "java",
    variables: ["JAVA_TOOL_OPTIONS"],
    remark: "reads no proxy variable and has a trust store of its own",
  },
  {
    name: "php",
    command: "php",
    variables: ["HTTPS_PROXY"],
    remark: "needs curl.cainfo in its php.ini, which no variable sets",
  },
  {
    name: "docker",
    command: "docker",
    variables: ["HTTPS_PROXY"],
    remark: "does not hand these to its containers: give docker run the variables and the certificate file",
  },
  { name: "gh", command: "gh", variables: ["HTTPS_PROXY", "SSL_CERT_FILE"] },
  { name: "aws", command: "aws", variables: ["HTTPS_PROXY", "AWS_CA_BUNDLE"] },
  { name: "claude", command: "claude", variables: ["HTTPS_PROXY", "NODE_EXTRA_CA_CERTS"] },
  { name: "codex", command: "codex", variables: ["HTTPS_PROXY", "SSL_CERT_FILE"] },
  { name: "gemini", command: "gemini", variables: ["HTTPS_PROXY", "NODE_USE_ENV_PROXY", "NODE_EXTRA_CA_CERTS"] },
  { name: "opencode", command: "opencode", variables: ["HTTPS_PROXY", "NODE_EXTRA_CA_CERTS"] },
];

export const clientNames: readonly string[] = knownClients.map(({ name }) => name);

/** A runtime of a large program starts slowly on a machine that has something else to do. */
const probeLimitMs = 20_000;

export interface ClientOptions {
  /** The environment in which the client is found. */
  readonly environment: Environment;
  /** What `run` would give it; undefined when there is no token to try it with. */
  readonly childEnvironment: Readonly<Record<string, string>> | undefined;
  /** Never shown, whatever a client prints. */
  readonly token: string | undefined;
  /** Only these; all when empty. */
  readonly names: readonly string[];
  /** Where clients are started: no project of the user's changes what they do. */
  readonly workingDirectory: string;
}

/** One check for each client that is installed; one that was asked for by name and is not is a failure. */
export async function checkClients(options: ClientOptions): Promise<readonly Check[]> {
  const chosen = knownClients.filter(({ name }) => options.names.length === 0 || options.names.includes(name));
  const checks: Check[] = [];
  // One after the other: side by side they would slow each other beyond the limit on a small machine.
  for (const client of chosen) {
    const found = await checkClient(client, options);
    if (found) checks.push(found);
  }
  return checks;
}

async function checkClient(client: KnownClient, options: ClientOptions): Promise<Check | undefined> {
  const { name } = client;
  const { childEnvironment } = options;
  const variables = client.variables.map((variable) => ({
    name: variable,
    is_set_by_run: childEnvironment?.[variable] !== undefined,
  }));
  const command = findCommand(client.command, options.environment);
  if (!command) {
    if (!options.names.includes(name)) return undefined;
    return check("clients", name, "failed", `${name} is not installed`, { variables });
  }
  if (client.remark) {
    return check("clients", name, "warning", `${name} ${client.remark}`, { hint: "docs/clients.md", variables });
  }
  if (!childEnvironment || !client.probe || !client.proof) {
    const why = childEnvironment ? "there is no way to ask it for a page" : "there is no token to try it with";
    return check("clients", name, "skipped", `${name} was not tried: ${why}`, { variables });
  }
  try {
    return await probe(client, { ...options, command, childEnvironment, variables });
  } catch (error) {
    return check("clients", name, "failed", `${name} cannot be started: ${messageOf(error)}`, { variables });
  }
}

interface Probe extends ClientOptions {
  readonly command: string;
  readonly childEnvironment: Readonly<Record<string, string>>;
  readonly variables: NonNullable<Check["variables"]>;
}

async function probe(client: KnownClient, options: Probe): Promise<Check | undefined> {
  const { name, proof, absentCode } = client;
  const { command, childEnvironment, variables, workingDirectory, token } = options;
  const url = `https://${probeHost}/${name}`;
  const { code, output } = await capture(
    {
      command,
      args: client.probe?.(url) ?? [],
      environment: { ...childEnvironment, ...quietly(workingDirectory), ...client.environment },
    },
    { timeoutMs: probeLimitMs, workingDirectory },
  );
  if (absentCode !== undefined && code === absentCode) return undefined;
  if (proof?.test(output)) return check("clients", name, "ok", `${name} goes through the broker`, { variables });
  const said = lastLine(output, token);
  const reason = code === undefined ? `no answer within ${probeLimitMs / 1000} s` : said || "it does not say why";
  return check("clients", name, "failed", `${name} does not reach the broker: ${reason}`, {
    hint: client.hint ?? "docs/clients.md, and look for configuration files of its own",
    variables,
  });
}

/** Nobody is there to answer a question, and no configuration of a user's own project is to count. */
function quietly(directory: string): Record<string, string> {
  return {
    GIT_TERMINAL_PROMPT: "0",
    DENO_NO_UPDATE_CHECK: "1",
    npm_config_cache: join(directory, "npm"),
    GOMODCACHE: join(directory, "go"),
  };
}

/** The line of an error, without the token that a client may print with the address of its proxy. */
function lastLine(output: string, token: string | undefined): string {
  const text = token ? output.replaceAll(token, "…") : output;
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return (lines.findLast((line) => /error|fail|could not|cannot|unable/i.test(line)) ?? lines.at(-1) ?? "").slice(
    0,
    200,
  );
}
