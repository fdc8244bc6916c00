/**
 * Shows the main job from end to end, in a temporary home that is removed: a TLS upstream with an authority of its
 * own, a server, one credential, one service, and `agent-vault run -- curl` with a made-up key.
 */
import { startBrokeredUpstream } from "../test/support/brokered-upstream.ts";

const credential = "live_key_that_the_agent_never_sees";

await using brokered = await startBrokeredUpstream({
  answer: (_request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end('{"login":"octo-agent"}\n');
  },
});
const { server, upstream, host, journalRow } = brokered;
heading("Set up");
console.log(`server     ${server.apiUrl}, proxy on port ${server.proxyPort}`);
console.log(`upstream   https://${host()}, certificate of an authority that only the server was told of`);

await command(["vault", "credential", "set", "DEMO_TOKEN=-"], credential);
const service = ["--name", "demo", "--host", host(), "--auth-type", "bearer", "--token-key", "DEMO_TOKEN"];
await command(["vault", "service", "add", ...service]);

heading("The agent runs");
const url = `https://${host()}/user`;
const request = ["curl", "-sSv", "-H", "Authorization: Bearer not-a-key", url];
console.log(`$ agent-vault run -- ${request.map(quote).join(" ")}`);
const result = await server.run(["run", "--", ...request]);
if (result.code !== 0) throw new Error(`curl ended with ${result.code}:\n${result.stderr}`);
console.log(requestHead(result.stderr));
console.log(`\nand reads: ${result.stdout.trim()}`);

heading("The upstream received");
const [received] = upstream.requests;
console.log(`${received?.method} ${received?.url}`);
for (let at = 0; at < (received?.rawHeaders.length ?? 0); at += 2) {
  console.log(`${received?.rawHeaders[at]}: ${received?.rawHeaders[at + 1]}`);
}

heading("The journal says");
console.log(JSON.stringify(await journalRow("/user"), null, 2));

const leaked = (result.stdout + result.stderr + server.log()).includes(credential);
heading(leaked ? "The credential was seen outside the upstream" : "The credential was seen by the upstream alone");
process.exitCode = leaked ? 1 : 0;

async function command(args: readonly string[], stdin: string | undefined = undefined): Promise<void> {
  console.log(`$ ${stdin === undefined ? "" : "… | "}agent-vault ${args.map(quote).join(" ")}`);
  const said = await server.cli(args, stdin === undefined ? {} : { stdin });
  if (said.trim() !== "") console.log(said.trim());
}

/** The request as curl -v shows it, without the CONNECT that opened the tunnel for it. */
function requestHead(trace: string): string {
  const lines = trace.split("\n").filter((line) => line.startsWith("> "));
  const begin = lines.findIndex((line) => /^> (?!CONNECT )\S+ \S+ HTTP\/\S+\s*$/.test(line));
  return lines
    .slice(begin)
    .map((line) => line.slice(2).trimEnd())
    .join("\n")
    .trim();
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function heading(text: string): void {
  console.log(`\n== ${text}`);
}
