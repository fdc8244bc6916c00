import wasm from "undici/lib/llhttp/llhttp-wasm.js";

/**
 * llhttp, the parser of Node, as the WebAssembly module that undici carries: the second opinion on every message
 * that our codec accepts. Runs in the process, on every runtime, without its lenient flags.
 */

export interface LlhttpMessage {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly reason: string;
  readonly minor: number;
  readonly headers: readonly string[];
  readonly trailers: readonly string[];
  readonly body: Buffer;
  readonly keepsAlive: boolean;
  /** Where the next message, or the other protocol after an upgrade, starts. */
  readonly end: number;
  /** Did the message end by itself, rather than with the transport? */
  readonly delimited: boolean;
}

export type LlhttpVerdict =
  | { readonly kind: "message"; readonly message: LlhttpMessage }
  | { readonly kind: "incomplete" }
  | { readonly kind: "error"; readonly code: string };

interface Exports {
  readonly memory: WebAssembly.Memory;
  llhttp_alloc(type: number): number;
  llhttp_free(parser: number): void;
  malloc(bytes: number): number;
  free(pointer: number): void;
  llhttp_execute(parser: number, data: number, length: number): number;
  llhttp_finish(parser: number): number;
  llhttp_get_error_pos(parser: number): number;
  llhttp_errno_name(errno: number): number;
  llhttp_get_method(parser: number): number;
  llhttp_method_name(method: number): number;
  llhttp_get_status_code(parser: number): number;
  llhttp_get_http_minor(parser: number): number;
  llhttp_should_keep_alive(parser: number): number;
}

const paused = 21; // HPE_PAUSED
const pausedForUpgrade = 22; // HPE_PAUSED_UPGRADE

interface Collected {
  url: string;
  reason: string;
  headers: string[];
  trailers: string[];
  body: Buffer[];
  pastHead: boolean;
  complete: boolean;
  skipBody: boolean;
  method: number;
  status: number;
  minor: number;
  keepsAlive: boolean;
  /** The end of the last name, as llhttp hands out a name that is cut in two calls. */
  nameEnd: number;
}

export class Llhttp {
  readonly #exports: Exports;
  #now: Collected = collected(false);

  constructor() {
    const text = (at: number, length: number) => this.#bytes(at, length).toString("latin1");
    const list = () => (this.#now.pastHead ? this.#now.trailers : this.#now.headers);
    const env = {
      wasm_on_message_begin: () => 0,
      wasm_on_url: (_: number, at: number, length: number) => {
        this.#now.url += text(at, length);
        return 0;
      },
      wasm_on_status: (_: number, at: number, length: number) => {
        this.#now.reason += text(at, length);
        return 0;
      },
      wasm_on_header_field: (_: number, at: number, length: number) => {
        const lines = list();
        if (this.#now.nameEnd === at) lines[lines.length - 2] += text(at, length);
        else lines.push(text(at, length), "");
        this.#now.nameEnd = at + length;
        return 0;
      },
      wasm_on_header_value: (_: number, at: number, length: number) => {
        const lines = list();
        lines[lines.length - 1] += text(at, length);
        this.#now.nameEnd = -1;
        return 0;
      },
      wasm_on_headers_complete: (parser: number) => {
        const now = this.#now;
        now.pastHead = true;
        now.method = this.#exports.llhttp_get_method(parser);
        now.status = this.#exports.llhttp_get_status_code(parser);
        now.minor = this.#exports.llhttp_get_http_minor(parser);
        now.keepsAlive = this.#exports.llhttp_should_keep_alive(parser) === 1;
        return now.skipBody ? 1 : 0;
      },
      wasm_on_body: (_: number, at: number, length: number) => {
        this.#now.body.push(Buffer.from(this.#bytes(at, length)));
        return 0;
      },
      wasm_on_message_complete: () => {
        this.#now.complete = true;
        return paused;
      },
    };
    const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), { env });
    // The module's exports are what undici calls, with these signatures.
    this.#exports = instance.exports as unknown as Exports;
    (instance.exports._initialize as () => void)();
  }

  /** Reads the first message of `input`; `answersHead`: it answers a HEAD request, so it has no body. */
  read(type: "request" | "response", input: Buffer, answersHead = false): LlhttpVerdict {
    const llhttp = this.#exports;
    this.#now = collected(answersHead);
    const parser = llhttp.llhttp_alloc(type === "request" ? 1 : 2);
    const data = llhttp.malloc(input.length + 1);
    try {
      new Uint8Array(llhttp.memory.buffer, data, input.length).set(input);
      let errno = llhttp.llhttp_execute(parser, data, input.length);
      const end = errno === 0 ? input.length : llhttp.llhttp_get_error_pos(parser) - data;
      const delimited = this.#now.complete;
      if (errno !== 0 && errno !== paused && errno !== pausedForUpgrade) {
        return { kind: "error", code: this.#string(llhttp.llhttp_errno_name(errno)) };
      }
      if (!delimited) {
        errno = llhttp.llhttp_finish(parser);
        if (!this.#now.complete) return { kind: "incomplete" };
      }
      const { url, reason, headers, trailers, body, method, status, minor, keepsAlive } = this.#now;
      const name = type === "request" ? this.#string(llhttp.llhttp_method_name(method)) : "";
      const trimmed = { headers: headers.map(trimEnd), trailers: trailers.map(trimEnd) };
      return {
        kind: "message",
        message: {
          method: name,
          url,
          reason,
          status,
          minor,
          keepsAlive,
          end,
          delimited,
          ...trimmed,
          body: Buffer.concat(body),
        },
      };
    } finally {
      llhttp.free(data);
      llhttp.llhttp_free(parser);
    }
  }

  #bytes(at: number, length: number): Buffer {
    return Buffer.from(this.#exports.memory.buffer, at, length);
  }

  #string(at: number): string {
    const memory = Buffer.from(this.#exports.memory.buffer);
    return memory.toString("latin1", at, memory.indexOf(0, at));
  }
}

/** llhttp leaves the white space behind a value to its caller; Node cuts it off, as RFC 9110, section 5.5, says. */
function trimEnd(text: string): string {
  return text.replace(/[ \t]+$/, "");
}

function collected(skipBody: boolean): Collected {
  return {
    ...{ url: "", reason: "", headers: [], trailers: [], body: [], pastHead: false, complete: false, skipBody },
    ...{ method: 0, status: 0, minor: 0, keepsAlive: false, nameEnd: -1 },
  };
}
