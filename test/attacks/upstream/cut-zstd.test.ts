import { zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "half an answer taken for a whole one, compressed with zstd and cut before it was framed",
  consequence:
    "Where zstd is undone for scrubbing, the runtime's decoder does not say that its data ended too early, so an answer that the upstream itself cut looks complete. What is cut on the way is still seen.",
});

describe("an upstream that frames half of a zstd stream", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("gets it to the agent as a complete answer", async () => {
    const lines = Array.from({ length: 60_000 }, (_, at) => `line ${at * 7919}\n`).join("");
    const whole = zstdCompressSync(lines).toString("latin1");
    const half = whole.slice(0, whole.length / 2);
    stage.secure.script = (connection) =>
      connection.send(`HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: ${half.length}\r\n\r\n${half}`);
    const answer = await stage.ask("/report", { head: "Accept-Encoding: zstd\r\n" });
    expect(answer.body.length).toBeLessThan(lines.length);
    return answer.status === 200 && answer.isComplete;
  });
});
