import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "a path that is switched off, of a host that is served otherwise" });

const authorization = { type: "bearer", token: "UPSTREAM_TOKEN" };

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

describe("an agent that spells a path so that a switched-off service does not know it", () => {
  let stage: Stage;
  let host: string;

  beforeAll(async () => {
    stage = await setStage();
    host = `${hosts.api}:${stage.secure.port}`;
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

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
});
