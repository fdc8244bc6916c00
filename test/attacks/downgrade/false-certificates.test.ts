import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { runProgram } from "../../support/binary.ts";
import { type Certificate, TestAuthority } from "../../support/test-authority.ts";
import { defended } from "../support/declaration.ts";
import { RawUpstream } from "../support/raw-upstream.ts";
import { hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to be taken for the upstream without being able to prove it" });

const hour = 3_600_000;

// The broker is the only one who looks at the upstream's certificate: the agent sees the broker's.
describe("an upstream that cannot prove who it is", () => {
  let stage: Stage;
  let stranger: TestAuthority;
  let upstream: RawUpstream | undefined;

  beforeAll(async () => {
    stage = await setStage();
    stranger = await TestAuthority.create("Somebody else's CA");
    await stage.services([{ name: "upstream", host: hosts.api, auth: { type: "bearer", token: "UPSTREAM_TOKEN" } }]);
  });

  afterEach(async () => {
    await upstream?.[Symbol.asyncDispose]();
    upstream = undefined;
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  const past = { notBefore: new Date(Date.now() - 48 * hour), notAfter: new Date(Date.now() - hour) };
  const future = { notBefore: new Date(Date.now() + hour), notAfter: new Date(Date.now() + 48 * hour) };

  it.each<{ name: string; issue: () => Promise<Certificate> }>([
    { name: "an expired certificate", issue: () => stage.authority.issue([hosts.api], past) },
    { name: "one that is not valid yet", issue: () => stage.authority.issue([hosts.api], future) },
    { name: "one for another name", issue: () => stage.authority.issue([hosts.other]) },
    { name: "one for the parent domain", issue: () => stage.authority.issue(["upstream.test"]) },
    { name: "one for a wildcard one level up", issue: () => stage.authority.issue(["*.test"]) },
    { name: "one for the address", issue: () => stage.authority.issue(["127.0.0.1"]) },
    { name: "one of an authority that nobody trusts", issue: () => stranger.issue([hosts.api]) },
    { name: "one that it signed itself", issue: () => selfSigned(hosts.api) },
  ])("gets no credential and no request with $name", async ({ issue }) => {
    upstream = await RawUpstream.start({ certificate: await issue() });
    const answer = await stage.ask("/v1/me", { authority: `${hosts.api}:${upstream.port}` });
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.body)).toMatchObject({ error: "tls_verification_failed" });
    expect(upstream.received).toEqual([]);
  });

  it("gets neither when it speaks no TLS at all", async () => {
    let received = "";
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => {
        received += chunk.toString("latin1");
        socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const answer = await stage.ask("/v1/me", { authority: `${hosts.api}:${port}` });
    server.close();
    expect(answer.status).toBe(502);
    expect(received).not.toContain("/v1/me");
    expect(received).not.toContain(secret);
  });

  it("is not excused by an unmatched host: passthrough is verified, too", async () => {
    upstream = await RawUpstream.start({ certificate: await stranger.issue([hosts.git]) });
    const answer = await stage.ask("/", { authority: `${hosts.git}:${upstream.port}` });
    expect(answer.status).toBe(502);
    expect(upstream.received).toEqual([]);
  });

  it("is not excused by NODE_TLS_REJECT_UNAUTHORIZED=0 in the broker's environment", async () => {
    await using careless = await setStage({ env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" } });
    upstream = await RawUpstream.start({ certificate: await stranger.issue([hosts.api]) });
    const answer = await careless.ask("/", { authority: `${hosts.api}:${upstream.port}` });
    expect(answer.status).toBe(502);
    expect(upstream.received).toEqual([]);
  });

  it("is believed with a good one, so that the refusals above mean something", async () => {
    upstream = await RawUpstream.start({ certificate: await stage.authority.issue([hosts.api]) });
    expect((await stage.ask("/v1/me", { authority: `${hosts.api}:${upstream.port}` })).status).toBe(200);
    expect(upstream.values("authorization")).toEqual([`Bearer ${secret}`]);
  });

  it("is believed when SSL_CERT_FILE names its authority, which then replaces the usual ones", async () => {
    const file = join(stage.server.home, "only-these.pem");
    await writeFile(file, stranger.pem);
    await using other = await setStage({ env: { SSL_CERT_FILE: file, AGENT_VAULT_UPSTREAM_CA_FILE: "" } });
    upstream = await RawUpstream.start({ certificate: await stranger.issue([hosts.api]) });
    expect((await other.ask("/", { authority: `${hosts.api}:${upstream.port}` })).status).toBe(200);
  });
});

async function selfSigned(name: string): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), "agent-vault-self-signed-"));
  const files = ["-keyout", join(folder, "key.pem"), "-out", join(folder, "cert.pem")];
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const made = await runProgram("openssl", [...args, ...files, ...subject]);
  if (made.code !== 0) throw new Error(made.stderr);
  const certificate = {
    key: await readFile(join(folder, "key.pem"), "utf8"),
    cert: await readFile(join(folder, "cert.pem"), "utf8"),
  };
  await rm(folder, { recursive: true });
  return certificate;
}
