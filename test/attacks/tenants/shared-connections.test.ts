import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to be served on an upstream connection on which another vault has logged in" });

const otherSecret = "sk_live_OfTheOtherVault55";

// Some servers tie a login to the connection (NTLM, Negotiate), and some proxies before them do so by mistake.
describe("two vaults with the same upstream", () => {
  let stage: Stage;
  let otherToken: string;

  beforeAll(async () => {
    stage = await setStage();
    const api = `${hosts.api}:${stage.secure.port}`;
    await stage.newVault("other", { UPSTREAM_TOKEN: otherSecret });
    for (const vault of ["default", "other"]) await stage.services([bearerService(api)], vault);
    otherToken = await stage.newToken("other");
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("never share a connection, however they take turns", async () => {
    for (let turn = 0; turn < 5; turn++) {
      await stage.ask("/");
      await stage.ask("/", { token: otherToken });
    }
    expect(stage.secure.heads).toHaveLength(10);
    for (const received of stage.secure.received) {
      expect(received.includes(secret) && received.includes(otherSecret)).toBe(false);
    }
  });

  it("do not either when they ask at the same time", async () => {
    const tokens = Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? stage.token : otherToken));
    for (let round = 0; round < 3; round++) await Promise.all(tokens.map((token) => stage.ask("/", { token })));
    expect(stage.secure.heads).toHaveLength(60);
    for (const received of stage.secure.received) {
      expect(received.includes(secret) && received.includes(otherSecret)).toBe(false);
    }
  });

  it("use theirs again, so that the above means something", async () => {
    for (let turn = 0; turn < 3; turn++) await stage.ask("/");
    expect(stage.secure.received).toHaveLength(1);
  });
});
