import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { ok, requestTo } from "../support/hostile.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "half an answer taken for a whole one" });

/** Bodies that end before they are complete, or never make sense: the agent must not take them for complete. */
const brokenBodies: readonly { readonly name: string; readonly bytes: string; readonly reset?: boolean }[] = [
  { name: "a length that is not reached", bytes: `${ok}Content-Length: 100\r\n\r\nhello` },
  { name: "a length that is not reached, and a reset", bytes: `${ok}Content-Length: 100\r\n\r\nhello`, reset: true },
  { name: "chunks without a last one", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n` },
  {
    name: "chunks without a last one, and a reset",
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`,
    reset: true,
  },
  { name: "a chunk that is cut", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\nff\r\nhello` },
  { name: "a last chunk without its end", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n` },
  { name: "a chunk size that is no number", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n` },
  { name: "a signed chunk size", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n\r\n` },
  {
    name: "a chunk that is longer than it says",
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n`,
  },
  { name: "a bare LF after a chunk size", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\n` },
  {
    name: "trailers without end",
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n${"X: yyyyyyyyyyyyyyyy\r\n".repeat(4000)}`,
  },
];

describe("an upstream whose body breaks off", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each(brokenBodies)("cannot pass off a broken body as a complete one: $name", async ({ bytes, reset }) => {
    stage.secure.script = (connection) => {
      connection.send(bytes);
      setTimeout(() => (reset ? connection.reset() : connection.end()), 50);
    };
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/v1/me"));
    const answer = await wire.answer();
    // Either the fault was seen before the head went out, or the agent sees the connection end too early.
    if (answer.status !== 502) {
      expect(answer.isComplete).toBe(false);
      expect(await wire.untilClosed()).toBe("");
    }
  });
});
