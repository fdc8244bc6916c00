/** The web around a server: the front that people reach it through, and sites of strangers. */
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Certificate } from "../../support/test-authority.ts";

/** One request as it came to the server, and what it was answered. */
export interface Arrival {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly status: number;
  readonly answerHeaders: IncomingMessage["headers"];
  readonly answer: string;
}

/**
 * A relay in front of the server, over TLS or not, that changes nothing and remembers what passes: whether a browser sent
 * a request at all, and with which cookies, is what tells a protection of ours from one of the browser's.
 */
export class Front implements AsyncDisposable {
  readonly arrivals: Arrival[] = [];
  readonly origin: string;
  readonly #server: Server;
  #target = 0;

  private constructor(server: Server, origin: string) {
    this.#server = server;
    this.origin = origin;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => void this.#relay(request, response));
  }

  static async open(host: string, certificate?: Certificate): Promise<Front> {
    const server = certificate === undefined ? createServer() : createTlsServer(certificate);
    const port = await listen(server);
    return new Front(server, `${certificate === undefined ? "http" : "https"}://${host}:${port}`);
  }

  /** Where requests go, once the server that needs our origin for its start has started. */
  leadTo(port: number): void {
    this.#target = port;
  }

  /** Requests to a path that came since `from`. */
  to(path: string, from = 0): readonly Arrival[] {
    return this.arrivals.slice(from).filter((arrival) => arrival.path.split("?")[0] === path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #relay(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await collect(request);
    const { method = "", url: path = "", headers } = request;
    const onward = httpRequest({ host: "127.0.0.1", port: this.#target, method, path, headers });
    onward.on("error", () => response.destroy());
    onward.on("response", async (answer: IncomingMessage) => {
      const bytes = await collect(answer);
      const status = answer.statusCode ?? 0;
      const told = { status, answerHeaders: answer.headers, answer: bytes.toString("utf8") };
      this.arrivals.push({ method, path, headers, body: body.toString("utf8"), ...told });
      response.writeHead(status, answer.rawHeaders);
      response.end(bytes);
    });
    onward.end(body);
  }
}

/** A site of somebody else: every path is an empty page, and it may set cookies where browsers let it. */
export class Site implements AsyncDisposable {
  readonly origin: string;
  readonly #server: Server;

  private constructor(server: Server, origin: string) {
    this.#server = server;
    this.origin = origin;
  }

  /** @param cookies are set by every page. */
  static async open(
    host: string,
    options: { readonly certificate?: Certificate; readonly cookies?: () => readonly string[] } = {},
  ): Promise<Site> {
    const { certificate } = options;
    const server = certificate === undefined ? createServer() : createTlsServer(certificate);
    server.on("request", (_request: IncomingMessage, response: ServerResponse) => {
      response.writeHead(200, { "content-type": "text/html", "set-cookie": [...(options.cookies?.() ?? [])] });
      response.end("<!doctype html><title>a site</title><p>a site</p>");
    });
    const port = await listen(server);
    return new Site(server, `${certificate === undefined ? "http" : "https"}://${host}:${port}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function collect(stream: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
