import { readFile } from "node:fs/promises";
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({
  wants: "the broker's memory or its processor, by an answer that unfolds without end where it is looked into",
});

const mebibyte = 1024 * 1024;
const zeros = Buffer.alloc(200 * mebibyte);
/** The best one takes eight seconds for this, and saves nothing. */
const quick = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

/** Small on the wire, hundreds of megabytes to whoever undoes them; gzip in gzip takes that to the square. */
const bombs: readonly { readonly coding: string; readonly bytes: () => Buffer }[] = [
  { coding: "br", bytes: () => brotliCompressSync(zeros, quick) },
  { coding: "zstd", bytes: () => zstdCompressSync(zeros) },
  { coding: "gzip, gzip", bytes: () => gzipSync(gzipSync(zeros)) },
  { coding: "gzip, br", bytes: () => brotliCompressSync(gzipSync(zeros), quick) },
  { coding: "deflate, gzip", bytes: () => gzipSync(deflateSync(zeros)) },
];

describe("an upstream whose small answer unfolds to a large one", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  for (const mode of ["redact", "block"]) {
    it.each(bombs)(
      `is cut off, and costs no memory, where the service says ${mode}: $coding`,
      async ({ coding, bytes }) => {
        await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`, { scrub: mode })]);
        send(coding, bytes());
        const before = await residentBytes();
        using wire = await stage.tunnel();
        wire.send(`GET /bomb HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n\r\n`);
        let received = 0;
        for (let part = await wire.next(mebibyte); part !== ""; part = await wire.next(mebibyte)) {
          received += part.length;
          expect(received).toBeLessThan(80 * mebibyte);
        }
        expect(await residentBytes()).toBeLessThan(before + 100 * mebibyte);
      },
    );
  }

  it("costs nothing where an agent does not read it: the broker unfolds no further than it can send", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    send("gzip", gzipSync(zeros));
    const before = await residentBytes();
    const wires = await Promise.all(Array.from({ length: 8 }, () => stage.tunnel()));
    for (const wire of wires) {
      wire.pause();
      wire.send(`GET /bomb HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n\r\n`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const after = await residentBytes();
    for (const wire of wires) wire.close();
    expect(after).toBeLessThan(before + 150 * mebibyte);
  });

  it("is looked into to its end where it is an honest answer", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    send("gzip", gzipSync(Buffer.alloc(mebibyte, "abc")));
    const answer = await stage.ask("/large");
    expect(answer.isComplete).toBe(true);
    expect(answer.body.length).toBe(mebibyte);
    expect((await fetch(`${stage.server.apiUrl}/health`)).status).toBe(200);
  });

  function send(coding: string, bytes: Buffer): void {
    const head = `HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n\r\n`;
    stage.secure.script = (connection) => connection.send(head + bytes.toString("latin1"));
  }

  async function residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${stage.server.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }
});
