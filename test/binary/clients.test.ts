import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { runProgram } from "../support/binary.ts";
import { type BrokeredUpstream, startBrokeredUpstream } from "../support/brokered-upstream.ts";
import { answerWithGit } from "../support/git-backend.ts";

const secret = "sk_live_7f3a9c21d5e84b60";
const gitPassword = "ghp_5d1c8e7b20f94a63";
const gitAuthorization = `Basic ${Buffer.from(`agent:${gitPassword}`).toString("base64")}`;
const top = join(import.meta.dirname, "..", "..");
// The pinned Node 24, Bun and Deno, not the machine's.
const path = [join(top, "node_modules", ".bin"), process.env.PATH].join(delimiter);

/** What an agent would type, unchanged; each sends a value of its own, which must not arrive. */
const clients: readonly { readonly name: string; readonly command: (url: string) => readonly string[] }[] = [
  { name: "curl", command: (url) => ["curl", "-sS", "-H", "Authorization: Bearer placeholder", url] },
  { name: "curl-without-header", command: (url) => ["curl", "-sS", url] },
  { name: "wget", command: (url) => ["wget", "-qO-", "--header=Authorization: Bearer placeholder", url] },
  {
    name: "python-requests",
    command: (url) => python(`import requests; print(requests.get("${url}", headers=H).text)`),
  },
  { name: "python-httpx", command: (url) => python(`import httpx; print(httpx.get("${url}", headers=H).text)`) },
  {
    name: "python-urllib",
    command: (url) => python(`from urllib.request import *; print(urlopen(Request("${url}", headers=H)).read())`),
  },
  {
    name: "python-aiohttp",
    command: (url) =>
      python(
        [
          "import aiohttp, asyncio",
          "async def main():",
          "    async with aiohttp.ClientSession(trust_env=True) as session:",
          `        async with session.get("${url}", headers=H) as answer: print(await answer.text())`,
          "asyncio.run(main())",
        ].join("\n"),
      ),
  },
  { name: "node-fetch", command: (url) => ["node", "--input-type=module", "-e", fetchScript(url)] },
  {
    name: "node-undici",
    command: (url) => [
      "node",
      "--input-type=module",
      "-e",
      `import { fetch, EnvHttpProxyAgent } from ${JSON.stringify(join(top, "node_modules/undici/index.js"))};
       const dispatcher = new EnvHttpProxyAgent();
       console.log(await (await fetch("${url}", { dispatcher, headers: { authorization: "Bearer placeholder" } })).text());
       await dispatcher.close();`,
    ],
  },
  { name: "bun-fetch", command: (url) => ["bun", "-e", fetchScript(url)] },
  { name: "deno-fetch", command: (url) => ["deno", "eval", fetchScript(url)] },
];

describe("agent-vault run", () => {
  let brokered: BrokeredUpstream;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "agent-vault-clients-"));
    const git = answerWithGit(folder, gitAuthorization);
    brokered = await startBrokeredUpstream({
      answer: (request, response) => {
        if (request.url.startsWith("/project.git/")) return git(request, response);
        response.writeHead(200, { "content-type": "text/plain" }).end("hello agent\n");
      },
    });
    const { server, host } = brokered;
    await server.cli(["vault", "credential", "set", "UPSTREAM_TOKEN=-"], { stdin: secret });
    await server.cli(["vault", "credential", "set", "GIT_USER=-"], { stdin: "agent" });
    await server.cli(["vault", "credential", "set", "GIT_PASSWORD=-"], { stdin: gitPassword });
    const add = ["vault", "service", "add"];
    const bearer = ["--auth-type", "bearer", "--token-key", "UPSTREAM_TOKEN"];
    await server.cli([...add, "--name", "upstream", "--host", host(), ...bearer]);
    const basic = ["--auth-type", "basic", "--username-key", "GIT_USER", "--password-key", "GIT_PASSWORD"];
    await server.cli([...add, "--name", "code", "--host", host("git.upstream.test"), ...basic]);
  });

  afterAll(async () => {
    await brokered?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(() => brokered.upstream.forget());

  it.each(clients)("gives $name the real credential at the upstream, and nowhere else", async ({ name, command }) => {
    const { server, upstream, host, journalRow } = brokered;
    const result = await server.run(["run", "--", ...command(`https://${host()}/clients/${name}?page=1`)], {
      env: { PATH: path },
    });

    expect(result.stdout, result.stderr).toContain("hello agent");
    expect(result.code).toBe(0);
    expect(upstream.requests.map((request) => request.url)).toEqual([`/clients/${name}?page=1`]);
    expect(upstream.requests[0]?.values("authorization")).toEqual([`Bearer ${secret}`]);
    expect(upstream.requests[0]?.rawHeaders.join("\n")).not.toMatch(/placeholder|av_(sess|agt)_|proxy-/i);
    expect(result.stdout + result.stderr).not.toContain(secret);
    expect(await journalRow(`/clients/${name}`)).toMatchObject({
      method: "GET",
      host: host(),
      matched_service: "upstream",
      credential_keys: ["UPSTREAM_TOKEN"],
      status: 200,
      error_code: "",
    });
  });

  it("lets git clone and push a private repository", async () => {
    const { server, upstream, host, journalRow } = brokered;
    await runProgram("git", ["init", "-q", "--bare", "--initial-branch=main", "project.git"], { cwd: folder });
    await runProgram("git", ["-C", "project.git", "config", "http.receivepack", "true"], { cwd: folder });
    const url = `https://${host("git.upstream.test")}/project.git`;
    const script = [
      `git clone -q ${url} work`,
      "cd work",
      "git checkout -q -B main",
      "echo contents > file.txt",
      "git add file.txt",
      "git -c user.name=Agent -c user.email=agent@example.com commit -q -m first",
      "git push -q origin main",
      "cd ..",
      `git clone -q ${url} again`,
      "cat again/file.txt",
    ].join(" && ");
    const result = await server.run(["run", "--", "sh", "-c", script], { cwd: folder, env: { PATH: path } });

    expect(result.stdout, result.stderr).toContain("contents");
    expect(result.code).toBe(0);
    expect(new Set(upstream.requests.flatMap((request) => request.values("authorization")))).toEqual(
      new Set([gitAuthorization]),
    );
    expect(result.stdout + result.stderr).not.toContain(gitPassword);
    expect(await journalRow("/project.git/git-receive-pack")).toMatchObject({
      method: "POST",
      matched_service: "code",
      credential_keys: ["GIT_USER", "GIT_PASSWORD"],
      status: 200,
    });
  });

  it("shows the child a token of its own and no credential", async () => {
    const { server } = brokered;
    const { stdout, code } = await server.run(["run", "--", "env"], { env: { PATH: path } });
    const session = JSON.parse(await readSession(server.home)) as { token: string };

    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^HTTPS_PROXY=http://[^@]+@127\\.0\\.0\\.1:${server.proxyPort}$`, "m"));
    expect(stdout).not.toContain(secret);
    expect(stdout).not.toContain(gitPassword);
    expect(stdout, "the owner's own session is not the child's").not.toContain(session.token);
  });

  it("ends the child's token when the child ends", async () => {
    const { server, host } = brokered;
    const { stdout } = await server.run(["run", "--", "sh", "-c", 'echo "$HTTPS_PROXY"; cp "$CURL_CA_BUNDLE" ca.pem'], {
      cwd: folder,
    });
    const proxy = stdout.trim().split("\n").at(-1) ?? "";
    const late = await runProgram("curl", [
      "-sS",
      "--cacert",
      join(folder, "ca.pem"),
      "-x",
      proxy,
      `https://${host()}/late`,
    ]);

    expect(late.code, late.stdout).not.toBe(0);
    expect(late.stderr).toContain("407");
    expect(brokered.upstream.requests).toEqual([]);
  });

  it("passes the child's exit code on", async () => {
    expect((await brokered.server.run(["run", "--", "sh", "-c", "exit 7"])).code).toBe(7);
  });

  it("writes the credential into no log and no file but the sealed record", async () => {
    const { server } = brokered;
    const found = await runProgram("grep", ["-rlaF", "-e", secret, "-e", gitPassword, server.home]);
    expect(found.stdout).toBe("");
    expect(server.log()).not.toContain(secret);
    expect(server.log()).not.toContain(gitPassword);
  });
});

function python(script: string): readonly string[] {
  return ["/usr/bin/python3", "-c", `H = {"Authorization": "Bearer placeholder"}\n${script}`];
}

function fetchScript(url: string): string {
  return `console.log(await (await fetch("${url}", { headers: { authorization: "Bearer placeholder" } })).text())`;
}

async function readSession(home: string): Promise<string> {
  return (await runProgram("cat", [join(home, ".agent-vault", "session.json")])).stdout;
}
