/** The part of `ws` that tests use; the package brings no types. */
declare module "ws" {
  import type { EventEmitter } from "node:events";
  import type { IncomingMessage } from "node:http";
  import type { Server } from "node:https";
  import type { Duplex } from "node:stream";

  export class WebSocket extends EventEmitter {
    send(data: string | Uint8Array): void;
    close(code?: number, reason?: string): void;
    terminate(): void;
    on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): this;
  }

  export class WebSocketServer extends EventEmitter {
    constructor(options: { readonly server: Server } | { readonly noServer: true });
    readonly clients: ReadonlySet<WebSocket>;
    handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, done: (socket: WebSocket) => void): void;
    on(event: "connection", listener: (socket: WebSocket, request: IncomingMessage) => void): this;
  }
}
