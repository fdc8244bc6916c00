import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { containers, hearAnswer, holdsSecret } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to hear a part of the credential before the broker blocks, or not to be found out" });

describe("an upstream that returns the credential", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  it("is refused before a byte of a small answer, where the service blocks", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`, { scrub: "block" })]);
    for (const container of ["a body", "gzip", "br", "a header", "a redirect", "an interim answer"]) {
      const heard = await hearAnswer(stage, containers[container]?.(secret) ?? "");
      expect(heard, container).toMatch(/^HTTP\/1\.1 502 /);
      expect(heard, container).toContain('"error":"credential_in_answer"');
      expect(holdsSecret(heard)).toBe(false);
    }
  });

  it("does as the vault says where the service says nothing, and the log of requests tells what was found", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    await stage.server.api("PATCH", "/v1/vaults/default/settings", { scrub: "block" });
    expect(await hearAnswer(stage, containers["a body"]?.(secret) ?? "")).toMatch(/^HTTP\/1\.1 502 /);
    await stage.server.api("PATCH", "/v1/vaults/default/settings", { scrub: "" });
    expect(await hearAnswer(stage, containers["a body"]?.(secret) ?? "")).toMatch(/^HTTP\/1\.1 200 /);
    await expect
      .poll(async () => {
        const { logs } = (await stage.server.api("GET", "/v1/vaults/default/logs?limit=2")) as { logs: object[] };
        return logs;
      })
      .toMatchObject([
        { status: 200, error_code: "", scrub: { mode: "redact", credential_keys: ["UPSTREAM_TOKEN"] } },
        {
          status: 502,
          error_code: "credential_in_answer",
          scrub: { mode: "block", credential_keys: ["UPSTREAM_TOKEN"] },
        },
      ]);
    expect(stage.server.log()).toMatch(/credential_in_answer/);
    expect(stage.server.log()).not.toContain(secret);
  });
});
