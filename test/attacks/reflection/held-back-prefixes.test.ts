import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to learn the credential byte by byte from what the broker holds back",
  consequence:
    "Where an agent can make an upstream echo a text and then pause, what may begin a value waits and anything else does not: 64 guesses for each letter. Without holding back, a value that arrives in two chunks would pass.",
});

describe("an agent that has beginnings echoed by an upstream that pauses", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("tells the right letter from a wrong one", async () => {
    const known = secret.slice(0, 10);
    const right = secret.slice(10, 11);
    expect(await isShown(`${known}#`)).toBe(true);
    return !(await isShown(`${known}${right}`));
  });

  /** Does the echo of `guess` arrive, before the upstream goes on? */
  async function isShown(guess: string): Promise<boolean> {
    let goOn = () => undefined as undefined;
    stage.secure.script = (connection) => {
      const text = `>${guess}`;
      connection.send(
        `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n`,
      );
      goOn = () => void connection.send("1\r\n!\r\n0\r\n\r\n") as undefined;
    };
    using wire = await stage.tunnel();
    wire.send(`GET /echo HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\nConnection: close\r\n\r\n`);
    const head = await wire.answer("HEAD");
    expect(head.status).toBe(200);
    let seen = "";
    while (!seen.includes(">")) seen += await wire.next(1);
    // What is not held back is written with the byte before it.
    seen += wire.pending;
    await new Promise((resolve) => setTimeout(resolve, 100));
    seen += wire.pending.slice(seen.length - seen.indexOf(">") - 1);
    const isWhole = seen.includes(guess);
    goOn();
    // All of it comes in the end: it was no value.
    expect((seen + (await wire.untilClosed())).includes("!")).toBe(true);
    await stage.secure.closeAll();
    return isWhole;
  }
});
