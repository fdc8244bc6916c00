import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hosts, type Stage, secret, setStage } from "./support/stage.ts";

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

/** Spellings under which `/private/a` is found although the literal path is another one. */
const disguises = [
  "//private/a",
  "/./private/a",
  "/x/../private/a",
  "/%2e/private/a",
  "/x/%2e%2e/private/a",
  "/.//private/a",
  "/%2fprivate/a",
  "/private%2fa",
  "/private%2Fa",
  "/private\\a",
  "/private%5ca",
  "/.;/private/a",
  "/;/private/a",
  "/;x=y/private/a",
  "/private;x/a",
  "/private;/a",
  "/private%3bx/a",
  "/private/./a",
  "/private//a",
  "/public/..;/private/a",
  "/%252e/private/a",
  "/%c0%af/private/a",
  "/private%00/a",
  "/x/..%5cprivate/a",
];

/** Spellings of letters that every server decodes alike: a disabled service covers them too. */
const encodedLetters = ["/%70rivate/a", "/p%72ivate/a", "/%70%72%69%76%61%74%65/a"];

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

  describe("into a path that is switched off, of a host that is served otherwise", () => {
    beforeAll(() =>
      stage.services([
        { name: "switched-off", host: `${host}/private/*`, enabled: false, auth: authorization },
        { name: "everything-else", host, auth: authorization },
      ]),
    );

    it.each(disguises)("does not get there as %s", async (path) => {
      const answer = await stage.ask(path);
      expect([400, 403], answer.body).toContain(answer.status);
      expect(stage.secure.received).toEqual([]);
    });

    it.each(["/private/a", ...encodedLetters])("is told that it is switched off: %s", async (path) => {
      const answer = await stage.ask(path);
      expect(answer.status).toBe(403);
      expect(JSON.parse(answer.body)).toMatchObject({ error: "service_disabled" });
      expect(stage.secure.received).toEqual([]);
    });

    it("may go everywhere else", async () => {
      expect((await stage.ask("/public/a")).status).toBe(200);
      expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
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
