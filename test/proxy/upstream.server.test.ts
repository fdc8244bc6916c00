import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { expect, it } from "vitest";
import { Outboxes } from "../../src/proxy/outboxes.ts";
import { UpstreamConnection, type UpstreamUser } from "../../src/proxy/upstream.ts";

/** Sends a request to an upstream that answers with `answer`, and says whether its connection may be used again. */
async function isReusableAfter(answer: string): Promise<boolean> {
  const server = createServer((socket) => socket.once("data", () => socket.write(answer, "latin1")));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  const upstream = new UpstreamConnection(socket, new Outboxes());
  try {
    return await new Promise((resolve, reject) => {
      const ignore = (): void => undefined;
      const user: UpstreamUser = {
        onInformational: ignore,
        onSwitch: ignore,
        onAnswer: ignore,
        onAnswerBody: ignore,
        onAnswerTrailers: ignore,
        onAnswerEnd: () => resolve(upstream.isReusable),
        onFailure: reject,
        onCrash: reject,
        onAnswerBatch: ignore,
        onUpstreamDrain: ignore,
      };
      upstream.begin(user, "GET");
      upstream.out.text("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      upstream.out.flush();
    });
  } finally {
    upstream.destroy();
    server.close();
  }
}

it.each([
  { answer: "HTTP/1.1 204 No\r\n\r\n", reusable: true, because: "it is over" },
  { answer: "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", reusable: true, because: "many servers say so" },
  { answer: "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", reusable: false, because: "five bytes may follow" },
  { answer: "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", reusable: false, because: "chunks may follow" },
  { answer: "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", reusable: true, because: "it describes another answer" },
  { answer: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", reusable: true, because: "it is complete" },
  {
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
    reusable: false,
    because: "there is more than one answer",
  },
  {
    answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    reusable: false,
    because: "it says so",
  },
  { answer: "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", reusable: false, because: "1.0 closes" },
])("a connection is used again: $reusable after $answer, because $because", async ({ answer, reusable }) => {
  expect(await isReusableAfter(answer)).toBe(reusable);
});

const ignore = (): void => undefined;
const bug = new TypeError("a bug of ours");
const throwBug = (): never => {
  throw bug;
};

it.each([
  { during: "the head", user: { onAnswer: throwBug } },
  { during: "a 1xx", user: { onInformational: throwBug } },
  { during: "the body", user: { onAnswerBody: throwBug } },
  { during: "the end", user: { onAnswerEnd: throwBug } },
  { during: "the batch", user: { onAnswerBatch: throwBug } },
])("loses one connection, and tells its user why, when something throws during $during", async ({ user: faulty }) => {
  const answer = "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx";
  const server = createServer((socket) => socket.once("data", () => socket.end(answer, "latin1")));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  const upstream = new UpstreamConnection(socket, new Outboxes());
  try {
    const crash = new Promise<unknown>((onCrash, onFailure) => {
      const user: UpstreamUser = {
        onInformational: ignore,
        onSwitch: ignore,
        onAnswer: ignore,
        onAnswerBody: ignore,
        onAnswerTrailers: ignore,
        onAnswerEnd: ignore,
        onFailure,
        onCrash,
        onAnswerBatch: ignore,
        onUpstreamDrain: ignore,
        ...faulty,
      };
      upstream.begin(user, "GET");
      upstream.out.text("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      upstream.out.flush();
    });
    expect(await crash).toBe(bug);
    expect(upstream.isAlive).toBe(false);
  } finally {
    upstream.destroy();
    server.close();
  }
});
