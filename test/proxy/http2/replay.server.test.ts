import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:tls";
import { expect, it } from "vitest";
import { Http2Client, requestFieldsFor } from "../../support/http2-client.ts";
import { connectHead, TestProxy, testToken } from "../../support/proxy.ts";
import { TestAuthority } from "../../support/test-authority.ts";

// Several kept connections may have died together: the second try must not be given to another of them.
it.each(["h2", "http/1.1"])(
  "says a request again on a new connection when kept ones have died, for an agent of %s",
  async (kind) => {
    const authority = await TestAuthority.create();
    let connections = 0;
    const cert = await authority.issue(["api.test"]);
    const waiting: Socket[] = [];
    let phase = 1;
    const server = createServer(cert, (socket) => {
      const n = connections++;
      let _count = 0;
      socket.on("error", () => undefined);
      socket.on("data", () => {
        _count++;
        if (n < 2 && phase === 2) return void socket.destroy(); // idle ones die under their next request
        if (phase === 1) {
          waiting.push(socket);
          if (waiting.length === 2) for (const s of waiting) s.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        } else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      });
    });
    await new Promise<void>((r) => server.listen(0, "127.0.0.1", r));
    const host = `api.test:${(server.address() as AddressInfo).port}`;
    const proxy = await TestProxy.start({ trusted: authority });
    let status: string;
    if (kind === "h2") {
      const plain = await proxy.dial();
      plain.send(connectHead(host, testToken));
      await plain.head();
      plain.socket.removeAllListeners("data");
      const client = await Http2Client.secure(plain.socket, { servername: "api.test", ca: proxy.rootPem });
      await Promise.all([client.ask(requestFieldsFor(host, "/1", [])), client.ask(requestFieldsFor(host, "/2", []))]);
      phase = 2;
      const answer = await client.ask(requestFieldsFor(host, "/3", []));
      status = JSON.stringify(answer.heads) + answer.body;
      client.socket.destroy();
    } else {
      const a = await proxy.tunnel(host);
      const b = await proxy.tunnel(host);
      a.send(`GET /1 HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      b.send(`GET /2 HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await a.answer();
      await b.answer();
      phase = 2;
      a.send(`GET /3 HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      const answer = await a.answer();
      status = `${answer.status} ${answer.body}`;
    }
    await proxy.close();
    server.close();
    expect(connections).toBe(3);
    expect(status).toContain("200");
  },
);
