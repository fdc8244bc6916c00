import type { EventEmitter } from "node:events";
import { createRequire } from "node:module";

/** `ws` itself. Bun puts a client and server of its own in place of the bare name, which read frames by other code. */

export interface RealWebSocket extends EventEmitter {
  readonly extensions: string;
  readonly bufferedAmount: number;
  send(data: string | Uint8Array, options?: { binary?: boolean; compress?: boolean; fin?: boolean }): void;
  ping(data?: string): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
}

export interface RealWebSocketServer extends EventEmitter {
  address(): { readonly port: number };
  close(done?: () => void): void;
}

type Options = Readonly<Record<string, unknown>>;

const load = createRequire(import.meta.url);
const folder = "../../node_modules/ws/lib";

export const WebSocketClient = load(`${folder}/websocket.js`) as new (
  address: string,
  options?: Options,
) => RealWebSocket;
export const WebSocketServer = load(`${folder}/websocket-server.js`) as new (options: Options) => RealWebSocketServer;
