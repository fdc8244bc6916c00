import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "the credential sent to a path that its service does not cover" });

const authorization = { type: "bearer", token: "UPSTREAM_TOKEN" };

/** Spellings under which some server or other finds `/admin` or `/private`, though they begin with what is allowed. */
const escapes = [
  "/api/../admin",
  "/api/./../admin",
  "/api/..",
  "/api/../",
  "/api/x/../../admin",
  "/api/%2e%2e/admin",
  "/api/%2E%2E/admin",
  "/api/.%2e/admin",
  "/api/%2e./admin",
  "/api/..%2fadmin",
  "/api/..%2Fadmin",
  "/api%2f..%2fadmin",
  "/api/%2e%2e%2fadmin",
  "/api/..;/admin",
  "/api/..;x=y/admin",
  "/api/%2e%2e;/admin",
  "/api/..\\admin",
  "/api/..%5cadmin",
  "/api/%2e%2e%5cadmin",
  "/api\\..\\admin",
  "/api/%252e%252e/admin",
  "/api/..%252fadmin",
  "/api/%25252e%25252e/admin",
  "/api/%c0%ae%c0%ae/admin",
  "/api/..%c0%afadmin",
  "/api/%e0%80%ae%e0%80%ae/admin",
  "/api/%u002e%u002e/admin",
  "/api/..%00/admin",
  "/api/..%09/admin",
  "/api/..%20/admin",
  "/api/..%0d%0a/admin",
  "/api/.../admin",
  "/api//../admin",
  "/api/%2f../admin",
  "/api/%ef%bc%8e%ef%bc%8e/admin",
  "/api/..%ef%bc%8fadmin",
  "/api/%e2%80%a5/admin",
];

describe("an agent that spells a path so that it leaves the scope of a service", () => {
  let stage: Stage;
  let host: string;

  beforeAll(async () => {
    stage = await setStage();
    host = `${hosts.api}:${stage.secure.port}`;
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  describe("from /api/* of a host that is not served otherwise", () => {
    beforeAll(() => stage.services([{ name: "api-only", host: `${host}/api/*`, auth: authorization }]));

    it.each(escapes)("does not carry the credential out of it: %s", async (path) => {
      const answer = await stage.ask(path);
      expect(answer.status, answer.body).toBe(400);
      expect(stage.secure.received).toEqual([]);
    });

    it.each(["/api/v1/users", "/api/a%20b", "/api/caf%C3%A9", "/api/v1.0/..x", "/api/a;b=c/d", "/api/~me/$x"])(
      "is not what an honest path is taken for: %s",
      async (path) => {
        expect((await stage.ask(path)).status).toBe(200);
        expect(stage.secure.received.join()).toContain(`GET ${path} HTTP/1.1\r\n`);
        expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
      },
    );

    it.each(["/admin", "/API/v1", "/api", "/apix", "/x/api/v1"])("does not get the credential for %s", async (path) => {
      await stage.ask(path);
      expect(stage.secure.received.join()).not.toContain(secret);
    });

    it("does not get the credential by hiding the path behind a query", async () => {
      await stage.ask("/admin?/api/x");
      await stage.ask("/admin?x=/api/");
      expect(stage.secure.received.join()).not.toContain(secret);
    });
  });

  describe("on a host whose services have no paths", () => {
    beforeAll(() => stage.services([{ name: "whole-host", host, auth: authorization }]));

    it.each(["/a/../b", "/a%2fb", "/a//b", "/a/%2e%2e/b"])("is left alone: %s goes out byte for byte", async (path) => {
      expect((await stage.ask(path)).status).toBe(200);
      expect(stage.secure.received.join()).toContain(`GET ${path} HTTP/1.1\r\n`);
    });
  });
});
