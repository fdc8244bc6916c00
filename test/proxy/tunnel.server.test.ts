import { execFile } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import type { Service } from "../../src/domain/services/service.ts";
import { TestProxy } from "../support/proxy.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";

const run = promisify(execFile);
const trusted = await TestAuthority.create();
const bearer: Service = {
  name: "api",
  pattern: { host: "api.test" },
  auth: { type: "bearer", token: "API_KEY" },
  substitutions: [],
};

describe("a tunnel", () => {
  it("carries curl's request with the real credential in place of its own", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    await using proxy = await TestProxy.start({ trusted, services: [bearer], credentials: { API_KEY: "sk_real" } });
    const directory = await mkdtemp(join(tmpdir(), "tunnel-"));
    const ca = join(directory, "ca.pem");
    await writeFile(ca, proxy.rootPem);

    const { stdout } = await run("curl", [
      "-sS",
      "--cacert",
      ca,
      "-x",
      proxy.url,
      "-H",
      "Authorization: Bearer dummy",
      `https://api.test:${upstream.port}/v1/charges?a=1`,
    ]);

    expect(stdout).toBe("hello\n");
    expect(upstream.requests[0]?.values("authorization")).toEqual(["Bearer sk_real"]);
    expect(upstream.requests[0]?.url).toBe("/v1/charges?a=1");
    expect(proxy.journal).toMatchObject([
      { path: "/v1/charges", status: 200, matchedService: "api", credentialKeys: ["API_KEY"], authScheme: "bearer" },
    ]);
    expect(JSON.stringify(proxy.journal)).not.toContain("sk_real");
  });
});
