import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "the broker to keep in memory all the answers that the agent asks for and never reads" });

const mebibyte = 1024 * 1024;

describe("an agent that asks and does not read", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  beforeEach(() => Promise.all([stage.secure.reset(), stage.plain.reset()]));

  afterAll(() => stage[Symbol.asyncDispose]());

  it("holds back an upstream that sends without end", async () => {
    const part = "a".repeat(mebibyte);
    stage.secure.script = (connection) => {
      connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${200 * mebibyte}\r\n\r\n`);
      for (let i = 0; i < 200; i++) connection.send(part);
    };
    using wire = await stage.tunnel();
    wire.pause();
    const before = await residentBytes();
    wire.send(`GET /large HTTP/1.1\r\nHost: ${api}\r\n\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(await residentBytes()).toBeLessThan(before + 60 * mebibyte);
  });

  it.each([{ way: "in a tunnel" }, { way: "in absolute form" }])(
    "is asked to read before its next request is served: pipelined $way",
    async ({ way }) => {
      const upstream = way === "in a tunnel" ? stage.secure : stage.plain;
      const body = "a".repeat(60_000);
      upstream.script = (connection) =>
        connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      using wire = way === "in a tunnel" ? await stage.tunnel() : await Wire.dial(stage.server.proxyPort);
      const request =
        way === "in a tunnel"
          ? `GET /x HTTP/1.1\r\nHost: ${api}\r\n\r\n`
          : `GET http://${hosts.api}:${upstream.port}/x HTTP/1.1\r\nHost: x\r\n${proxyAuthorization({}, stage.token)}\r\n`;
      const before = await residentBytes();
      wire.pause();
      for (let i = 0; i < 100; i++) wire.send(request.repeat(40));
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      // 4,000 answers are 240 MB; what the system buffers on the way to us is a few.
      expect(await residentBytes()).toBeLessThan(before + 80 * mebibyte);
      expect(upstream.heads.length).toBeLessThan(1_000);
    },
  );

  it.each([{ way: "in a tunnel" }, { way: "outside" }])(
    "is not owed refusals without end either: $way",
    async ({ way }) => {
      const isTunnel = way === "in a tunnel";
      using wire = isTunnel ? await stage.tunnel() : await Wire.dial(stage.server.proxyPort);
      const request = isTunnel
        ? `TRACE /x HTTP/1.1\r\nHost: ${api}\r\n\r\n`
        : `GET http://${hosts.api}/ HTTP/1.1\r\nHost: ${hosts.api}\r\n\r\n`;
      wire.pause();
      const before = await residentBytes();
      const many = request.repeat(1_000);
      for (let i = 0; i < 200; i++) wire.send(many);
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      expect(await residentBytes()).toBeLessThan(before + 60 * mebibyte);
      expect((await fetch(`${stage.server.apiUrl}/health`)).status).toBe(200);
    },
  );

  async function residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${stage.server.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }
});
