import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { getHead, Smuggler } from "../support/smuggler.ts";
import { type Stage, setStage } from "../support/stage.ts";

defended({ wants: "the broker to read on for ever, or to forward a head of which it read a part" });

describe("a head that is too large", () => {
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

    it("goes nowhere through sheer size: a head of 2 MiB", async () => {
      const wire = await smuggler.dial();
      wire.send(smuggler.fill(`${getHead}X: ${"y".repeat(2 * 1024 * 1024)}\r\n\r\n`));
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect([400, 431]).toContain(answer.status);
      await wire.untilClosed();
      expect(smuggler.upstream.received).toEqual([]);
    });

    it("goes nowhere through sheer number: 20,000 headers", async () => {
      const wire = await smuggler.dial();
      wire.send(smuggler.fill(`${getHead}${"X: y\r\n".repeat(20_000)}\r\n`));
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect([400, 431]).toContain(answer.status);
      await wire.untilClosed();
      expect(smuggler.upstream.received).toEqual([]);
    });

    it("goes nowhere through a target of 200,000 bytes", async () => {
      const wire = await smuggler.dial();
      wire.send(`${smuggler.fill(getHead.replace("{target}", `{target}${"a".repeat(200_000)}`))}\r\n`);
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect([400, 414, 431]).toContain(answer.status);
      await wire.untilClosed();
      expect(smuggler.upstream.received).toEqual([]);
    });
  });
});
