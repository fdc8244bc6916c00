import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { CliContext } from "../../src/cli/command.ts";
import { runCommandLine } from "../../src/cli/root.ts";
import { Forbidden } from "../../src/errors.ts";

// Clears the screen, sets a title, and its 8-bit form; turns the direction of writing; ends the line.
const hostile = "/a\u001b[2J\u001b]0;t\u0007\u009b31m\u202eb\r\n\u2066\u2028";
const commands = /(?![\n])[\p{Cc}\p{Bidi_Control}]/u;

interface Row {
  readonly id: number;
  readonly [field: string]: unknown;
}

function row(id: number, change: object = {}): Row {
  return {
    id,
    method: "GET",
    scheme: "https",
    host: "api.example.com:443",
    path: `/${id}`,
    matched_service: "example",
    credential_keys: ["KEY"],
    status: 200,
    latency_ms: 7,
    error_code: "",
    actor_type: "agent",
    actor_id: "a1",
    actor_name: "bot",
    created_at: "2026-01-31T12:00:00Z",
    ...change,
  };
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A server that may say anything; each answer is given once, the last one again and again. */
async function serve(...answers: ((url: URL, headers: NodeJS.Dict<string | string[]>) => string | number)[]) {
  const seen: { readonly url: URL; readonly lastEventId: unknown }[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://x");
    seen.push({ url, lastEventId: request.headers["last-event-id"] });
    const answer = answers[Math.min(seen.length, answers.length) - 1]?.(url, request.headers) ?? 404;
    if (typeof answer === "string") response.end(answer);
    else response.writeHead(answer).end('{"error":"No access to this vault","code":"no_vault_access"}');
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

async function run(address: string, words: readonly string[]) {
  let out = "";
  let err = "";
  const never = (): never => {
    throw new Error("nothing is asked here");
  };
  const context: CliContext = {
    environment: { AGENT_VAULT_TOKEN: "av_agt_1", AGENT_VAULT_ADDR: address, AGENT_VAULT_VAULT: "billing" },
    terminal: {
      isInteractive: false,
      hasColor: false,
      width: 100,
      out: (text) => {
        out += text;
      },
      outValue: never,
      outSlowly: async (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      ask: never,
      askOrRead: never,
      askHidden: never,
      readLines: never,
      readAll: never,
    },
    workingDirectory: "/",
    home: "/nonexistent",
  };
  const error = await runCommandLine(words, context).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { out, err, error };
}

const page = (rows: readonly Row[], next: number | null = null) =>
  JSON.stringify({ logs: rows, next_cursor: next, latest_id: rows[0]?.id ?? 0 });
const event = (one: Row) => `event: log\nid: ${one.id}\ndata: ${JSON.stringify(one)}\n\n`;

describe("agent-vault logs", () => {
  it("shows the newest last, without the port that goes without saying", async () => {
    const { address } = await serve(() => page([row(2, { host: "b.example.com:8443" }), row(1)]));
    const { out } = await run(address, ["logs"]);
    const lines = out.split("\n").filter((line) => line.includes("GET"));
    expect(lines[0]).toContain("│ api.example.com ");
    expect(lines[1]).toContain("│ b.example.com:8443 ");
  });

  it("sends the filters, and reads as many pages as the limit asks for", async () => {
    const { address, seen } = await serve(
      () =>
        page(
          [...Array(200).keys()].map((index) => row(300 - index)),
          101,
        ),
      () =>
        page(
          [...Array(50).keys()].map((index) => row(100 - index)),
          51,
        ),
    );
    const words = ["vault", "logs", "--limit", "250", "--errors", "--method", "get", "--host", "x", "--json"];
    const { out } = await run(address, words);
    expect((JSON.parse(out) as { logs: Row[] }).logs).toHaveLength(250);
    expect(seen.map(({ url }) => `${url.pathname}?${url.searchParams}`)).toEqual([
      "/v1/vaults/billing/logs?status_bucket=err&method=GET&host=x&limit=200",
      "/v1/vaults/billing/logs?status_bucket=err&method=GET&host=x&limit=50&before=101",
    ]);
  });

  it.each([
    { words: ["logs"], answers: [() => page([row(1, { path: hostile, actor_name: hostile, error_code: hostile })])] },
    { words: ["logs", "--json"], answers: [() => page([row(1, { path: hostile })])] },
    {
      words: ["logs", "-f"],
      answers: [() => page([]), () => event(row(2, { path: hostile, method: hostile })), () => 403],
    },
    {
      words: ["logs", "-f", "--json"],
      answers: [() => page([]), () => event(row(2, { path: hostile })), () => 403],
    },
    { words: ["logs", "--export", "ndjson"], answers: [() => `${JSON.stringify(row(1, { path: hostile }))}\n`] },
    { words: ["logs", "--export", "csv"], answers: [() => `id,path\n1,"${hostile.replace("\r\n", "")}"\n`] },
  ])("lets no path paint the terminal: $words", async ({ words, answers }) => {
    const { address } = await serve(...answers);
    const { out } = await run(address, words);
    expect(out).toContain("\\u001b[2J");
    expect(out).not.toMatch(commands);
  });

  it("follows from the newest row that it showed, and goes on after a break behind the last", async () => {
    const { address, seen } = await serve(
      () => page([row(5)]),
      () => `${event(row(6))}: quiet\nid: 8\n\n`,
      () => event(row(9)),
      () => 403,
    );
    const { out, err, error } = await run(address, ["logs", "-f", "--json"]);
    expect(
      out
        .trimEnd()
        .split("\n")
        .map((line) => (JSON.parse(line) as Row).id),
    ).toEqual([5, 6, 9]);
    expect(seen.map(({ lastEventId }) => lastEventId)).toEqual([undefined, "5", "8", "9"]);
    expect(err).toContain("trying again");
    expect(error).toBeInstanceOf(Forbidden);
  });

  it("exports exactly what the server sent when nothing in it is dangerous", async () => {
    const text = `id,path\r\n1,"/a ""b"""\r\n2,é\r\n`;
    const { address } = await serve(() => text);
    expect((await run(address, ["logs", "--export", "csv"])).out).toBe(text);
  });

  it.each([
    { words: ["logs", "--since", "yesterday"], says: "--since" },
    { words: ["logs", "--limit", "0"], says: "--limit" },
    { words: ["logs", "--export", "csv", "-f"], says: "--export" },
    { words: ["logs", "--errors", "--status", "2xx"], says: "--status" },
  ])("refuses $words", async ({ words, says }) => {
    const { address, seen } = await serve(() => page([]));
    const { error } = await run(address, words);
    expect(String((error as Error).message)).toContain(says);
    expect(seen).toEqual([]);
  });
});
