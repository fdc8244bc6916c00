import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { hosts, type Stage, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to make the broker hold 64 MiB of memory for each of its requests",
  consequence:
    "A body with a length is collected whole for its placeholders, because its length changes. A token may have 64 requests under way: 4 GiB. Lower `AGENT_VAULT_RATELIMIT_PROXY_CONCURRENCY`, or `--max-request-bytes`, where agents are not trusted with the broker's memory.",
});

const size = 40 * 1024 * 1024;

describe("an agent with a large body for a service with placeholders in bodies", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    const substitutions = [{ key: "UPSTREAM_TOKEN", placeholder: "__token__", in: ["body"] }];
    const host = `${hosts.api}:${stage.secure.port}`;
    await stage.services([{ name: "upstream", host, auth: { type: "passthrough" }, substitutions }]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("is held in memory until its last byte", async () => {
    using wire = await stage.tunnel();
    const head = `Content-Type: text/plain\r\nContent-Length: ${size}\r\n`;
    wire.send(`POST /upload HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${head}\r\n`);
    wire.send("a".repeat(size - 1));
    await expect.poll(() => wire.unsentBytes, { timeout: 20_000 }).toBe(0);
    const isHeld = stage.secure.received.join("") === "";
    wire.send("a");
    expect((await wire.answer()).status).toBe(200);
    return isHeld;
  });
});
