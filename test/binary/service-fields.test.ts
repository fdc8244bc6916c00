import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BrokeredUpstream, startBrokeredUpstream } from "../support/brokered-upstream.ts";

const secret = "sk_live_52e0b6c1f7a94d38";

/** Each field of ours from the flag to the journal. */
describe("the fields of a service", () => {
  let brokered: BrokeredUpstream;
  let folder: string;
  const curl = (...args: readonly string[]) => brokered.server.run(["run", "--quiet", "--", "curl", "-sS", ...args]);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "service-fields-"));
    brokered = await startBrokeredUpstream({
      answer: (request, response) => {
        response.writeHead(200, { "content-type": "text/plain", "set-cookie": "s=1" });
        response.end(`${request.values("authorization")[0] ?? "nothing"}\n`);
      },
    });
    const { server, host } = brokered;
    await server.cli(["vault", "credential", "set", "UPSTREAM_TOKEN=-"], { stdin: secret });
    const service = ["--name", "upstream", "--host", host(), "--auth-type", "bearer", "--token-key", "UPSTREAM_TOKEN"];
    const fields = ["--method", "GET", "--method", "HEAD", "--strip-header", "x-debug", "--set-cookie", "pass"];
    await server.cli(["vault", "service", "add", ...service, ...fields, "--scrub", "off", "--scheme", "https"]);
  });

  afterAll(async () => {
    await brokered?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it("come back from the API and from YAML as they were set", async () => {
    const { server } = brokered;
    const set = {
      methods: ["GET", "HEAD"],
      strip_headers: ["x-debug"],
      set_cookie: "pass",
      scrub: "off",
      schemes: ["https"],
    };
    const listed = async () => (await server.api("GET", "/v1/vaults/default/services")) as { services: unknown[] };
    expect((await listed()).services).toMatchObject([set]);
    const yaml = await server.cli(["vault", "service", "list"]);
    await server.cli(["vault", "service", "remove", "upstream", "--yes"]);
    expect((await listed()).services).toEqual([]);
    await writeFile(join(folder, "services.yaml"), yaml);
    await server.cli(["vault", "service", "set", "-f", join(folder, "services.yaml")]);
    expect((await listed()).services).toMatchObject([set]);
  });

  it("strip_headers takes a header out, set_cookie lets cookies in, and scrub off leaves the answer alone", async () => {
    const { upstream, host } = brokered;
    upstream.forget();
    const { stdout } = await curl(
      "-i",
      "-H",
      "X-Debug: 1",
      "-H",
      "X_Debug: 2",
      "-H",
      "X-Kept: 3",
      `https://${host()}/fields`,
    );
    expect(stdout.toLowerCase()).toContain("set-cookie: s=1");
    expect(stdout).toContain(`Bearer ${secret}`);
    const [request] = upstream.requests;
    expect(request?.rawHeaders.join("\n").toLowerCase()).not.toMatch(/x[-_]debug/);
    expect(request?.values("x-kept")).toEqual(["3"]);
  });

  it("methods and schemes refuse the rest, and the journal says which", async () => {
    const { upstream, host, journalRow } = brokered;
    upstream.forget();
    const post = await curl("-X", "POST", `https://${host()}/posted`);
    expect(JSON.parse(post.stdout)).toMatchObject({ error: "method_not_allowed" });
    expect(await journalRow("/posted")).toMatchObject({ status: 403, error_code: "method_not_allowed" });
    const plain = await curl(`http://${host()}/plain`);
    expect(JSON.parse(plain.stdout)).toMatchObject({ error: "scheme_not_allowed" });
    expect(await journalRow("/plain")).toMatchObject({ status: 403, error_code: "scheme_not_allowed" });
    expect(upstream.requests).toEqual([]);
  });

  it("raw leaves the tunnel alone: the upstream's own certificate, and no credential", async () => {
    const { server, upstream, host } = brokered;
    const pinned = host("other.upstream.test");
    const refused = await server.run([
      ...["vault", "service", "add", "--name", "pinned", "--host", pinned, "--raw"],
      ...["--auth-type", "bearer", "--token-key", "UPSTREAM_TOKEN"],
    ]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("carries no credential");
    await server.cli(["vault", "service", "add", "--name", "pinned", "--host", pinned, "--raw"]);
    upstream.forget();
    const { stdout, stderr } = await curl("-v", "-k", `https://${pinned}/pinned`);
    expect(stdout).toBe("nothing\n");
    expect(stderr).toContain("issuer: CN=Test upstream CA");
    const rows = async () => JSON.parse(await server.cli(["logs", "--json"])) as { logs: { scheme: string }[] };
    await expect
      .poll(async () => (await rows()).logs.filter(({ scheme }) => scheme === "raw"))
      .toMatchObject([
        { method: "CONNECT", host: pinned, path: "", matched_service: "pinned", credential_keys: [], status: 200 },
      ]);
  });
});
