import { connect, type Socket } from "node:net";

export interface RawRequest {
  readonly method: string;
  /** Written as it is, in latin1. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: Uint8Array | undefined;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The server went on answering when the time was up. */
  readonly isCut: boolean;
}

/** Sends requests that no HTTP library would let through, one after the other over one connection. */
export class RawHttp implements Disposable {
  readonly #port: number;
  #socket: Socket | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /** @returns undefined when the connection ended without an answer. */
  async send(request: RawRequest, timeoutMs: number): Promise<RawAnswer | undefined> {
    const socket = this.#socket ?? (await open(this.#port));
    this.#socket = undefined;
    const lines = [
      `${request.method} ${request.target} HTTP/1.1`,
      `Host: 127.0.0.1:${this.#port}`,
      ...request.headers.map(([name, value]) => `${name}: ${value}`),
      ...(request.body === undefined ? [] : [`Content-Length: ${request.body.byteLength}`]),
    ];
    const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
    socket.write(request.body === undefined ? head : Buffer.concat([head, request.body]));
    const { bytes, isCut } = await readAnswer(socket, request.method, timeoutMs);
    const answer = parse(bytes, isCut);
    const isReusable = !isCut && answer?.headers.get("connection") !== "close" && !socket.destroyed;
    if (isReusable) this.#socket = socket;
    else socket.destroy();
    return answer;
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy();
  }
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.once("error", reject);
    // A peer that closes early ends the answer; that is what the reader sees.
    socket.on("error", () => undefined);
  });
}

function readAnswer(
  socket: Socket,
  method: string,
  timeoutMs: number,
): Promise<{ readonly bytes: Buffer; readonly isCut: boolean }> {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    const finish = (isCut: boolean) => {
      clearTimeout(timer);
      socket.off("data", onData);
      socket.off("close", onEnd);
      socket.off("end", onEnd);
      resolve({ bytes, isCut });
    };
    const onEnd = () => finish(false);
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (isComplete(bytes, method)) finish(false);
    };
    const timer = setTimeout(() => finish(true), timeoutMs);
    socket.on("data", onData);
    socket.on("close", onEnd);
    socket.on("end", onEnd);
  });
}

function isComplete(bytes: Buffer, method: string): boolean {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = bytes.subarray(0, end).toString("latin1");
  const status = Number(head.slice(9, 12));
  if (method === "HEAD" || status === 204 || status === 304) return true;
  const length = /^content-length: *(\d+)$/im.exec(head)?.[1];
  if (length !== undefined) return bytes.length >= end + 4 + Number(length);
  return /^transfer-encoding: *chunked$/im.test(head) && bytes.subarray(-5).toString("latin1") === "0\r\n\r\n";
}

function parse(bytes: Buffer, isCut: boolean): RawAnswer | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [line = "", ...fields] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const headers = new Headers();
  for (const field of fields) {
    const colon = field.indexOf(":");
    headers.append(field.slice(0, colon), field.slice(colon + 1).trim());
  }
  const body = bytes.subarray(end + 4);
  const isChunked = headers.get("transfer-encoding") === "chunked";
  const text = (isChunked ? dechunk(body) : body).toString("utf8");
  return { status: Number(line.slice(9, 12)), headers, text, isCut };
}

function dechunk(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = body.indexOf("\r\n", at);
    const size = lineEnd < 0 ? 0 : Number.parseInt(body.subarray(at, lineEnd).toString("latin1"), 16);
    if (!size) return Buffer.concat(parts);
    parts.push(body.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}
