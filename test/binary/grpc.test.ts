import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bearerService, hosts, type Stage, secret, setStage } from "../attacks/support/stage.ts";

/** The gRPC library that agents use, client and server, with the built binary in between. */

const top = join(import.meta.dirname, "..", "..");
const node = join(top, "node_modules", ".bin", "node");
const peer = join(top, "test", "support", "grpc-peer.mjs");

interface Outcome {
  readonly message?: string;
  readonly messages?: readonly string[];
  readonly code?: number;
  readonly details?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly head?: Readonly<Record<string, unknown>>;
  readonly trailers?: Readonly<Record<string, unknown>>;
}

let stage: Stage;
let folder: string;
let server: ChildProcess;
let target = "";
const saw: { saw?: string; metadata?: Readonly<Record<string, unknown>> }[] = [];
let results: Readonly<Record<string, Outcome>> & {
  readonly sum: string;
  readonly large: number;
  readonly many: number;
};

beforeAll(async () => {
  stage = await setStage();
  folder = await mkdtemp(join(tmpdir(), "agent-vault-grpc-"));
  const { cert, key } = await stage.authority.issue([hosts.api]);
  const files = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem"), ca: join(folder, "ca.pem") };
  await Promise.all([writeFile(files.cert, cert), writeFile(files.key, key), writeFile(files.ca, stage.ca)]);
  server = spawn(node, [peer, "server", files.cert, files.key], { stdio: ["ignore", "pipe", "inherit"] });
  target = `${hosts.api}:${await portOf(server)}`;
  await stage.services([bearerService(`${target}/test.Echo/*`)]);
  await stage.unmatchedHosts("deny");
  results = JSON.parse(await runClient(files.ca)) as typeof results;
}, 60_000);

afterAll(async () => {
  server.kill();
  await stage[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** The first line of the server; those that follow are what it saw. */
async function portOf(child: ChildProcess): Promise<number> {
  if (child.stdout === null) throw new Error("no output");
  const lines = createInterface(child.stdout);
  return await new Promise((resolve) => {
    lines.on("line", (line) => {
      const said = JSON.parse(line) as { port?: number; saw?: string };
      if (said.port !== undefined) resolve(said.port);
      else saw.push(said);
    });
  });
}

async function runClient(ca: string): Promise<string> {
  const proxy = `http://${stage.token}:default@127.0.0.1:${stage.server.proxyPort}`;
  const client = spawn(node, [peer, "client", ca, target], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, grpc_proxy: proxy, no_grpc_proxy: "", no_proxy: "" },
  });
  let output = "";
  client.stdout.on("data", (chunk) => {
    output += chunk;
  });
  await new Promise((resolve) => client.on("close", resolve));
  return output;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe("gRPC through the broker", () => {
  it("makes a unary call, with metadata both ways, the credential attached, and trailers", () => {
    expect(results.unary).toMatchObject({
      message: "hello",
      head: { "x-head": "from the server" },
      trailers: { "x-trailer": "behind the message" },
    });
    const metadata = saw.find((one) => one.saw === "unary")?.metadata ?? {};
    expect(metadata).toMatchObject({ authorization: `Bearer ${secret}`, "x-plain": "as it is" });
    expect(metadata["x-bytes-bin"]).toMatchObject({ data: [0, 1, 254, 255] });
  });

  it("carries messages far above every window", () => {
    expect(results.large).toBe(2 * 1024 * 1024);
  });

  it("streams from the client, from the server, and both ways at once", () => {
    expect(results.sum).toBe("5050");
    expect(results.count?.messages).toEqual(Array.from({ length: 200 }, (_, index) => String(index + 1)));
    expect(results.talk?.messages).toEqual([1, 2, 3, 4, 5].map((number) => `you said ${number}`));
  });

  it("passes on that a deadline is over, and that a call is cancelled", async () => {
    expect(results.deadline).toMatchObject({ code: 4 });
    expect(results.cancelled).toMatchObject({ code: 1, messages: ["tick", "tick", "tick"] });
    await until(() => ["hang cancelled", "endless cancelled"].every((event) => saw.some((one) => one.saw === event)));
  });

  it("passes on errors with their trailers, before and after the first message", () => {
    expect(results.failed).toMatchObject({
      code: 9,
      details: "not now, 100 % sure: ü",
      metadata: { "x-reason": "because", "x-reason-bin": { data: [0, 1, 254, 255] } },
    });
    expect(results.brokenOff).toMatchObject({
      messages: ["one"],
      code: 15,
      details: "lost",
      metadata: { "x-reason": "in the middle" },
    });
  });

  it("refuses what no service covers with a status of gRPC, which says why", () => {
    expect(results.refused).toMatchObject({
      code: 7,
      metadata: { "x-agent-vault-error-code": "forbidden", "x-agent-vault-proxy-error": "true" },
    });
    expect(results.refused?.details).not.toBe("");
  });

  it("has more calls under way than one connection takes", () => {
    expect(results.many).toBe(300);
  });

  it("journals each call for itself", async () => {
    const written = await stage.everythingWritten();
    for (const method of ["Unary", "Talk", "Hang", "Fail"]) expect(written).toContain(`/test.Echo/${method}`);
    expect(written).toContain("/closed.Service/Only");
    expect(written).not.toContain(secret);
  });
});
