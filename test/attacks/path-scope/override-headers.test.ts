import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({
  wants: "a server that takes the path or the method from a header to serve what the service does not cover",
});

/** Frameworks that take the path or the method from a header would serve what the service does not cover. */
describe("a request that says one thing in its first line and another in a header", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    const api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([
      bearerService(api, { name: "reading", host: `${api}/read/*`, methods: ["GET", "POST"] }),
      bearerService(api, { name: "anything", host: `${api}/any/*` }),
    ]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each(["X-Original-URL", "X-Rewrite-URL", "x_original_url", "X.Rewrite.Url"])(
    "does not bring another path along in %s",
    async (name) => {
      await stage.ask("/any/thing", { head: `${name}: /admin\r\n` });
      expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
      expect(stage.secure.received.join("")).not.toContain("/admin");
    },
  );

  it.each(["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override"])(
    "does not bring a method along in %s where the service limits them",
    async (name) => {
      await stage.ask("/read/thing", { head: `${name}: DELETE\r\n` });
      expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
      expect(stage.secure.received.join("")).not.toContain("DELETE");
    },
  );

  it("may override the method where the service allows all of them", async () => {
    await stage.ask("/any/thing", { head: "X-HTTP-Method-Override: PATCH\r\n" });
    expect(stage.secure.values("x-http-method-override")).toEqual(["PATCH"]);
  });
});
