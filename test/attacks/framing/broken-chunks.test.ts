import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { type Attempt, isRefusal, postHead, prize, Smuggler } from "../support/smuggler.ts";
import { type Stage, setStage } from "../support/stage.ts";

defended({
  wants: "a body that the upstream takes for complete where the broker does not, and a second request behind it",
});

/** The head is fine and goes out; what follows is not, and the upstream must never be able to take it for complete. */
const brokenBodies: readonly Attempt[] = [
  { name: "a chunk size with a sign", bytes: chunked("+5\r\nhello\r\n0\r\n\r\n") },
  { name: "a negative chunk size", bytes: chunked("-5\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size with 0x", bytes: chunked("0x5\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size with an underscore", bytes: chunked("1_0\r\nhello\r\n0\r\n\r\n") },
  { name: "a blank before the chunk size", bytes: chunked(" 5\r\nhello\r\n0\r\n\r\n") },
  { name: "a blank after the chunk size", bytes: chunked("5 \r\nhello\r\n0\r\n\r\n") },
  { name: "an empty chunk size", bytes: chunked("\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size that is no number", bytes: chunked("g\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size beyond 2^64, which wraps to 5", bytes: chunked("10000000000000005\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size of 17 digits", bytes: chunked("00000000000000005\r\nhello\r\n0\r\n\r\n") },
  { name: "a bare LF after the chunk size", bytes: chunked("5\nhello\r\n0\r\n\r\n") },
  { name: "a bare CR after the chunk size", bytes: chunked("5\rhello\r\n0\r\n\r\n") },
  { name: "a bare LF after the data", bytes: chunked("5\r\nhello\n0\r\n\r\n") },
  { name: "no line end after the data", bytes: chunked("5\r\nhello0\r\n\r\n") },
  { name: "more data than the size says", bytes: chunked("5\r\nhello!\r\n0\r\n\r\n") },
  { name: "a bare LF after the last chunk", bytes: chunked("5\r\nhello\r\n0\n\n") },
  { name: "a bare LF in a chunk extension", bytes: chunked("5;a\nb\r\nhello\r\n0\r\n\r\n") },
  { name: "a bare CR in a chunk extension", bytes: chunked("5;a\rb\r\nhello\r\n0\r\n\r\n") },
  { name: "NUL in a chunk extension", bytes: chunked("5;a\0\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk extension without end", bytes: chunked(`5;${"a".repeat(70_000)}`) },
  { name: "a folded trailer", bytes: chunked("5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n") },
  { name: "a trailer with a space before its colon", bytes: chunked("5\r\nhello\r\n0\r\nX : y\r\n\r\n") },
  { name: "Content-Length as a trailer", bytes: chunked("5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n") },
  { name: "Transfer-Encoding as a trailer", bytes: chunked("5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n") },
  { name: "Host as a trailer", bytes: chunked("5\r\nhello\r\n0\r\nHost: internal.test\r\n\r\n") },
  { name: "trailers without end", bytes: chunked(`0\r\n${"X: yyyyyyyyyyyyyyyy\r\n".repeat(4000)}\r\n`) },
];

function chunked(body: string): string {
  return `${postHead}Transfer-Encoding: chunked\r\n\r\n${body}${prize}`;
}

describe("a request whose chunks make no sense", () => {
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

    it.each(brokenBodies)("is never completed for the upstream: $name", async ({ bytes }) => {
      const wire = await smuggler.dial();
      smuggler.upstream.script = () => undefined;
      wire.send(smuggler.fill(bytes));
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect(isRefusal(answer.status), answer.head).toBe(true);
      wire.end();
      expect(await wire.untilClosed(), "the connection goes on after the refusal").toBe("");
      const text = smuggler.upstream.received.join("");
      expect(text).not.toContain("/smuggled");
      expect(text).not.toMatch(/(^|\n)0\r\n/);
      expect(smuggler.upstream.heads.length).toBeLessThanOrEqual(1);
    });
  });
});
