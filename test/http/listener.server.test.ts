import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { maxBodyBytes } from "../../src/http/json-body.ts";
import type { Database } from "../../src/storage/database.ts";
import { ApiServer, openScratchDatabase } from "../support/api-server.ts";

describe("the API on the wire", () => {
  let database: Database & AsyncDisposable;
  let api: ApiServer;

  beforeAll(async () => {
    database = await openScratchDatabase();
    api = await ApiServer.start(database);
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  /** Sends bytes and reads until the server closes, which `Connection: close` makes it do. */
  function send(head: string, body = ""): Promise<string> {
    return new Promise((resolve, reject) => {
      let received = "";
      const socket = connect(api.port, "127.0.0.1", () => socket.write(`${head}\r\nHost: x\r\n\r\n${body}`));
      socket.on("data", (chunk) => {
        received += chunk;
      });
      socket.on("close", () => resolve(received));
      socket.on("error", reject);
    });
  }
  const close = "HTTP/1.1\r\nConnection: close";

  it.each([
    ["GET /health", "HTTP/1.1 200", "health"],
    ["GET /x/../health", "HTTP/1.1 307", "a dot segment, seen as it was sent"],
    ["GET //health", "HTTP/1.1 307", "an empty segment"],
    ["GET /%68ealth", "HTTP/1.1 200", "an escape that needs none"],
    ["GET /%2e%2e/health", "HTTP/1.1 404", "encoded dots are a name"],
    ["GET /%zz", "HTTP/1.1 400", "a malformed escape"],
    ["DELETE /health", "HTTP/1.1 405", "a wrong method"],
    ["GET http://elsewhere/health", "HTTP/1.1 200", "absolute form"],
  ])("answers %s with %s: %s", async (line, status, _because) => {
    expect(await send(`${line} ${close}`)).toMatch(new RegExp(`^${status} `));
  });

  it("reads an escape that is not UTF-8 as the specification has it, and says of a malformed one what it is", async () => {
    // h3 would answer both by itself, past the limits and in a form of its own.
    expect(await send(`GET /v1/users/invites/%ff/details ${close}`)).toMatch(/^HTTP\/1\.1 503 [\s\S]*not_initialized/);
    expect(await send("GET /%zz HTTP/1.1")).toMatch(/connection: close[\s\S]*text\/plain[\s\S]*400 Bad Request\n$/i);
  });

  it("answers HEAD as GET, without the body", async () => {
    const answer = await send(`HEAD /health ${close}`);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer.toLowerCase()).toContain("content-length: 16");
    expect(answer.endsWith("\r\n\r\n")).toBe(true);
  });

  it("refuses a body that never ends, and reads one whose value ends in time", async () => {
    const head = (length: number) => `POST /v1/auth/register ${close}\r\nContent-Length: ${length}`;
    const large = `{"email":"${"x".repeat(maxBodyBytes)}"}`;
    expect(await send(head(large.length), large)).toMatch(/^HTTP\/1\.1 413 /);
    const small = '{"email":"a@example.com"}';
    expect(await send(head(small.length), small)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("closes while a client keeps its connection open", async () => {
    await using other = await openScratchDatabase();
    const server = await ApiServer.start(other);
    const socket = connect(server.port, "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    await new Promise((resolve) => socket.once("data", resolve));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await server.close();
    await closed;
  });
});
