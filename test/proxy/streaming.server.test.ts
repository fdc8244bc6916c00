import { createHash } from "node:crypto";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { TestProxy } from "../support/proxy.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const mib = 1024 * 1024;

describe("large bodies", () => {
  it("arrive whole at an agent that reads slowly, and are not collected for it", async () => {
    const block = Buffer.alloc(mib, "0123456789abcdef");
    const size = 24 * mib;
    let written = 0;
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["api.test"],
      script: async (socket) => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        while (written < size && !socket.destroyed) {
          written += block.length;
          if (!socket.write(block)) await once(socket, "drain");
        }
      },
    });
    await using proxy = await TestProxy.start({ trusted });
    const client = await proxy.tunnel(`api.test:${upstream.port}`);
    client.send(`GET / HTTP/1.1\r\nHost: api.test:${upstream.port}\r\n\r\n`);
    await client.head();
    client.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(written).toBeLessThan(size); // somebody waits for the agent
    client.socket.resume();
    const body = await client.bytes(size);
    expect(createHash("sha256").update(body, "latin1").digest("hex")).toBe(
      createHash("sha256").update(Buffer.alloc(size, block)).digest("hex"),
    );
    client.socket.destroy();
  });

  it("carry the credential whatever their framing: 20 MiB by length and in chunks", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    await using proxy = await TestProxy.start({
      trusted,
      services: [
        { name: "api", pattern: { host: "api.test" }, auth: { type: "bearer", token: "K" }, substitutions: [] },
      ],
      credentials: { K: "sk_real" },
    });
    const host = `api.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    const body = "y".repeat(20 * mib);
    client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    expect((await client.answer()).body).toBe("hello\n");
    const chunk = `${mib.toString(16)}\r\n${"z".repeat(mib)}\r\n`;
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(20)}0\r\n\r\n`);
    expect((await client.answer()).body).toBe("hello\n");
    for (const request of upstream.requests) {
      expect(request.values("authorization")).toEqual(["Bearer sk_real"]);
      expect(request.body.length).toBe(20 * mib);
    }
    expect(upstream.requests).toHaveLength(2);
  });
});
