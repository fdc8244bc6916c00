import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runProgram } from "../support/binary.ts";
import { type BrokeredUpstream, startBrokeredUpstream } from "../support/brokered-upstream.ts";

describe("agent-vault ca rotate", () => {
  let brokered: BrokeredUpstream;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "ca-rotation-"));
    brokered = await startBrokeredUpstream({
      answer: (request, response) => {
        response.writeHead(200, { "content-type": "text/plain" });
        if (request.url !== "/slow") response.end("hello\n");
        else {
          response.write("begun\n");
          slow.finish = () => response.end("ended\n");
        }
      },
    });
  });
  afterAll(async () => {
    await brokered?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it("lets curl go on with what it fetched at each step, and an open tunnel through all of them", async () => {
    const { server, host } = brokered;
    const token = (await server.cli(["vault", "token", "--vault", "default"])).trim();
    const curl = (ca: string, path: string) =>
      runProgram("curl", [
        ...["-sS", "-N", "--cacert", ca, "-x", `http://${token}:default@127.0.0.1:${server.proxyPort}`],
        `https://${host()}${path}`,
      ]);
    const fetchCa = async (name: string) => {
      const file = join(folder, name);
      await server.cli(["ca", "fetch", "-o", file]);
      return file;
    };
    const rotate = async (...flags: string[]) => {
      const { roots } = JSON.parse(await server.cli(["ca", "rotate", "--json", ...flags])) as {
        roots: readonly { state: string }[];
      };
      return roots.map(({ state }) => state);
    };

    const before = await fetchCa("before.pem");
    const open = curl(before, "/slow");
    await expect.poll(() => slow.finish).toBeTypeOf("function");
    expect(await rotate()).toEqual(["active", "next"]);
    const during = await fetchCa("during.pem");
    for (const ca of [before, during]) expect((await curl(ca, "/a")).stdout).toBe("hello\n");

    const refused = await server.run(["ca", "rotate", "--finish", "--yes"]);
    expect(refused.code).not.toBe(0);
    expect(await rotate("--activate", "--yes")).toEqual(["active", "retired"]);
    await expect.poll(async () => (await curl(before, "/b")).code).toBe(60);
    expect((await curl(during, "/b")).stdout).toBe("hello\n");
    const run = await server.run(["run", "--", "curl", "-sS", `https://${host()}/run`]);
    expect(run.stdout, run.stderr).toBe("hello\n");

    expect(await rotate("--finish", "--yes")).toEqual(["active"]);
    const after = await fetchCa("after.pem");
    for (const ca of [during, after]) expect((await curl(ca, "/c")).stdout).toBe("hello\n");
    slow.finish?.();
    expect((await open).stdout).toBe("begun\nended\n");

    const audit = await server.cli(["audit", "list", "--action", "authority"]);
    for (const step of ["rotate", "activate", "finish"]) expect(audit).toContain(`authority.${step}`);
    expect(await server.cli(["server", "status"])).toContain("valid until");
    expect(await server.cli(["ca", "status"])).toContain("signs");
  });

  it("asks before what others notice, and takes one step at a time", async () => {
    const { server } = brokered;
    const unasked = await server.run(["ca", "rotate", "--activate"]);
    expect(unasked.code).not.toBe(0);
    expect(unasked.stderr).toContain("--yes");
    expect((await server.run(["ca", "rotate", "--activate", "--finish", "--yes"])).stderr).toContain("one step");
    expect((await server.run(["ca", "rotate", "--overlap", "soon"])).stderr).toContain("168h");
  });
});

const slow: { finish?: () => void } = {};
