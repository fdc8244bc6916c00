import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { getHead, isRefusal, postHead, prize, Smuggler } from "../support/smuggler.ts";
import { hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "a request that nobody judges, in a body, behind another one or behind a CONNECT" });

describe("a request inside or behind another one", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
  });

  beforeEach(() => Promise.all([stage.secure.reset(), stage.plain.reset()]));

  afterAll(() => stage[Symbol.asyncDispose]());

  describe.each(Smuggler.ways)("$way", ({ way }) => {
    let smuggler: Smuggler;

    beforeAll(() => {
      smuggler = new Smuggler(stage, way);
    });

    it("has no effect on what follows a complete request: garbage is refused on its own", async () => {
      const wire = await smuggler.dial();
      wire.send(smuggler.fill(`${getHead}\r\nGARBAGE\r\n\r\n`));
      expect((await wire.answer()).status).toBe(200);
      const second = await wire.answerOrEnd();
      if (second !== undefined) expect(isRefusal(second.status)).toBe(true);
      expect(await wire.untilClosed()).toBe("");
      expect(smuggler.upstream.heads).toHaveLength(1);
      expect(smuggler.upstream.received.join("")).not.toContain("GARBAGE");
    });

    it("takes the body of a request for nothing else: pipelined requests stay apart", async () => {
      const wire = await smuggler.dial();
      wire.send(
        smuggler.fill(
          `${postHead}Content-Length: ${prize.length}\r\n\r\n${prize}${getHead}{authorization}X-Second: yes\r\n\r\n`,
        ),
      );
      expect((await wire.answer()).status).toBe(200);
      expect((await wire.answer()).status).toBe(200);
      wire.close();
      const lines = smuggler.upstream.received.join("");
      expect(lines).toContain("X-Second: yes");
      expect(lines).toContain(prize);
      expect(smuggler.upstream.values("content-length")).toEqual([String(prize.length)]);
    });
  });

  it("does not work on CONNECT: a body, or a second request where the ClientHello belongs", async () => {
    const target = `${hosts.api}:${stage.secure.port}`;
    const auth = proxyAuthorization({}, stage.token);
    for (const head of ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]) {
      using wire = await Wire.dial(stage.server.proxyPort);
      wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${auth}${head}\r\nhello`);
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect(isRefusal(answer.status)).toBe(true);
    }
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${auth}\r\n${prize}`);
    await wire.answer("HEAD");
    await wire.untilClosed();
    expect(stage.secure.received).toEqual([]);
  });
});
