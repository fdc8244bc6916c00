import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runProgram } from "../../support/binary.ts";
import { defended } from "../support/declaration.ts";
import { hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "half an answer believed whole by a real client" });

const top = join(import.meta.dirname, "..", "..", "..");
const path = [join(top, "node_modules", ".bin"), process.env.PATH].join(delimiter);

const clients: readonly { readonly name: string; readonly command: (url: string) => readonly string[] }[] = [
  { name: "curl", command: (url) => ["curl", "-sS", url] },
  { name: "wget", command: (url) => ["wget", "-q", "-t", "1", "-O", "-", url] },
  {
    // Not requests: the one that Debian 12 has takes a short body for a whole one, whoever sends it.
    name: "python httpx",
    command: (url) => ["/usr/bin/python3", "-c", `import httpx; print(httpx.get("${url}").text)`],
  },
  {
    name: "python urllib",
    command: (url) => ["/usr/bin/python3", "-c", `from urllib.request import urlopen; print(urlopen("${url}").read())`],
  },
  {
    name: "node fetch",
    command: (url) => ["node", "-e", `fetch("${url}").then((a) => a.text()).then(console.log, () => process.exit(1))`],
  },
];

// A model that reads half an answer and believes it whole acts on half the truth.
describe("an upstream that dies in the middle of its answer", () => {
  let stage: Stage;
  let env: Record<string, string>;

  beforeAll(async () => {
    stage = await setStage();
    const ca = join(stage.server.home, "ca.pem");
    await writeFile(ca, stage.ca);
    const proxy = `http://${stage.token}:default@127.0.0.1:${stage.server.proxyPort}`;
    env = {
      PATH: path,
      HTTPS_PROXY: proxy,
      https_proxy: proxy,
      SSL_CERT_FILE: ca,
      CURL_CA_BUNDLE: ca,
      REQUESTS_CA_BUNDLE: ca,
      NODE_EXTRA_CA_CERTS: ca,
      NODE_USE_ENV_PROXY: "1",
      WGETRC: join(stage.server.home, "wgetrc"),
    };
    await writeFile(join(stage.server.home, "wgetrc"), `ca_certificate = ${ca}\n`);
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  describe.each([
    { framing: "chunked", head: "Transfer-Encoding: chunked\r\n\r\n", part: "5\r\nhello\r\n", rest: "0\r\n\r\n" },
    { framing: "of a known length", head: "Content-Length: 10\r\n\r\n", part: "hello", rest: "world" },
  ])("$framing", ({ head, part, rest }) => {
    it.each(clients)("is seen as an error by $name", async ({ command }) => {
      stage.secure.script = (connection) => {
        connection.send(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n${head}${part}`);
        setTimeout(() => connection.end(), 100);
      };
      const { code, stdout, stderr } = await get(command);
      expect(code, stdout + stderr).not.toBe(0);
    });

    it.each(clients)("is told apart from a complete answer by $name", async ({ command }) => {
      stage.secure.script = (connection) =>
        connection.send(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n${head}${part}${rest}`);
      const { code, stdout, stderr } = await get(command);
      expect(code, stdout + stderr).toBe(0);
      expect(stdout).toContain("hello");
    });
  });

  async function get(command: (url: string) => readonly string[]) {
    await stage.secure.closeAll();
    const [program = "", ...args] = command(`https://${hosts.api}:${stage.secure.port}/`);
    return runProgram(program, args, { env });
  }
});
