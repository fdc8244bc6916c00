import { UsageError } from "../../errors.ts";
import { command, jsonFlag } from "../command.ts";
import { formatTime, printFacts, printJson } from "../output.ts";

const stop = command({
  meta: { name: "stop", description: "Stop the server of this home" },
  async run({ context }) {
    const { stopServer } = await import("../serve/stop.ts");
    await stopServer(context);
  },
});

const status = command({
  meta: { name: "status", description: "Show whether a server of this home runs; exit code 1 when none does" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const { findServer } = await import("../serve/stop.ts");
    const found = await findServer(context);
    if (args.json) printJson(context.terminal, found);
    else {
      printFacts(context.terminal, [
        ["Server", found.running ? "running" : "not running"],
        ...(found.pid === undefined ? [] : [["PID", String(found.pid)] as const]),
        ...(found.address === undefined ? [] : [["Address", found.address] as const]),
        ...(found.healthy === undefined ? [] : [["Healthy", found.healthy ? "yes" : "no"] as const]),
        ...(found.root_expires_at === undefined
          ? []
          : [["Root certificate", rootUntil(found.root_expires_at)] as const]),
      ]);
    }
    return found.running ? 0 : 1;
  },
});

const soonMs = 90 * 24 * 3600_000;

function rootUntil(expiresAt: string): string {
  const until = `valid until ${formatTime(expiresAt)}`;
  return Date.parse(expiresAt) - Date.now() < soonMs ? `${until}: agent-vault ca rotate` : until;
}

export const serverCommand = command({
  meta: {
    name: "server",
    group: "Server",
    description: "Run the server: the broker's proxy and the API",
    details:
      "Without a database URL it keeps everything in ~/.agent-vault. The master password is read from\n" +
      "AGENT_VAULT_MASTER_PASSWORD, else from standard input with --password-stdin, else asked for at a terminal.\n" +
      "Where nobody can be asked, a new server starts without one.",
    usage: "[flags]",
    environment: {
      PORT: "Port of the API when --port is absent",
      DATABASE_URL: "PostgreSQL when --database-url is absent",
      AGENT_VAULT_MASTER_PASSWORD: "Master password; removed from the environment once read",
      AGENT_VAULT_ADDR: "Address under which people and agents reach the server",
      AGENT_VAULT_LOG_LEVEL: "Log level when --log-level is absent",
      AGENT_VAULT_MAX_REQUEST_BYTES: "Limit when --max-request-bytes is absent",
      AGENT_VAULT_MAX_RESPONSE_BYTES: "Limit when --max-response-bytes is absent",
      AGENT_VAULT_PROXY_TLS: "on: the proxy's port takes TLS, with a certificate of its own root",
      AGENT_VAULT_PROXY_SOCKET: "A Unix socket for agents, besides the proxy's port",
      AGENT_VAULT_OPEN_SETUP: "The first account needs no setup secret, wherever the server listens",
      AGENT_VAULT_SMTP_HOST: "Mail server; the page on configuration has the other variables for mail",
      LOG_FORMAT: "text or json",
    },
    examples: ["agent-vault server", "agent-vault server -d", "agent-vault server --host 0.0.0.0 --log-level debug"],
  },
  args: {
    host: { type: "string", shownDefault: "127.0.0.1", description: "Address to listen on, for API and proxy" },
    port: {
      type: "string",
      valueHint: "int",
      alias: "p",
      shownDefault: "14321",
      description: "Port of the API",
    },
    "mitm-port": {
      type: "string",
      valueHint: "int",
      shownDefault: "14322",
      description: "Port of the proxy; 0 for none",
    },
    detach: { type: "boolean", alias: "d", description: "Run in the background" },
    "password-stdin": {
      type: "boolean",
      description: "Read the master password from the first line of standard input",
    },
    "log-level": { type: "string", shownDefault: "info", description: "info or debug" },
    "database-url": { type: "string", description: "PostgreSQL to use instead of the embedded SQLite" },
    "max-request-bytes": {
      type: "string",
      valueHint: "int",
      shownDefault: "1073741824",
      description: "Largest request body that the proxy passes on",
    },
    "max-response-bytes": {
      type: "string",
      valueHint: "int",
      description: "Largest response body that the proxy passes on; 0 is unlimited",
      shownDefault: "0",
    },
    // A detached server is this command again, told so in a variable; nothing secret is in its arguments.
  },
  subCommands: { stop: async () => stop, status: async () => status },
  async run({ args, context }) {
    const { serve } = await import("../serve/serve.ts");
    const flags = {
      host: args.host,
      port: args.port,
      mitmPort: args["mitm-port"],
      logLevel: args["log-level"],
      databaseUrl: args["database-url"],
      maxRequestBytes: args["max-request-bytes"],
      maxResponseBytes: args["max-response-bytes"],
    };
    if (args.detach && context.environment._AGENT_VAULT_DETACHED) {
      throw new UsageError("already_detached", "A detached server cannot detach again");
    }
    await serve(context, flags, { isDetached: args.detach, isPasswordPiped: args["password-stdin"] });
  },
});
