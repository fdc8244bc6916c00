import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** One HTTP message as it stood on the wire; text is latin1, one character per byte. */
export interface WireAnswer {
  readonly status: number;
  /** Everything up to and with the empty line. */
  readonly head: string;
  /** Without chunk framing. */
  readonly body: string;
  /** Did the body arrive to its declared end? False when the connection ended first. */
  readonly isComplete: boolean;
  /** All values of a header, in order. */
  values(name: string): readonly string[];
}

const patienceMs = 20_000;

/** A connection on which anything at all can be written, and what comes back is read without any leniency of a client. */
export class Wire {
  readonly #socket: Socket;
  #received = "";
  #hasEnded = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received += chunk.toString("latin1");
      this.#wake();
    });
    const end = () => {
      this.#hasEnded = true;
      this.#wake();
    };
    socket.on("end", end);
    socket.on("close", end);
    // A peer that resets the connection ends it, too.
    socket.on("error", end);
  }

  static async dial(port: number, host = "127.0.0.1"): Promise<Wire> {
    const socket = connect({ host, port, noDelay: true });
    await happened(socket, "connect");
    return new Wire(socket);
  }

  /** Goes on over TLS, as a client that trusts `ca` and asks for `servername`. @throws {Error} if that is refused. */
  async startTls(options: { readonly ca: string; readonly servername: string | undefined }): Promise<Wire> {
    const { servername, ca } = options;
    const socket = connectTls({
      socket: this.#socket,
      ca,
      ALPNProtocols: ["http/1.1"],
      ...(servername !== undefined && { servername }),
      // What the certificate says is the business of the tests that ask for another name.
      checkServerIdentity: () => undefined,
    });
    await happened(socket, "secureConnect");
    return new Wire(socket);
  }

  /** The alternative names of the certificate that a TLS server shows here. */
  async certificateNames(options: { readonly ca: string; readonly servername: string }): Promise<string> {
    const socket = connectTls({ socket: this.#socket, ...options, checkServerIdentity: () => undefined });
    await happened(socket, "secureConnect");
    const names = socket.getPeerCertificate().subjectaltname ?? "";
    socket.destroy();
    return names;
  }

  send(bytes: string | Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** The next answer; with `method` HEAD it has no body. @throws {Error} when the connection ends before a head. */
  async answer(method = "GET"): Promise<WireAnswer> {
    const end = await this.#until(() => {
      const at = this.#received.indexOf("\r\n\r\n");
      return at < 0 ? undefined : at + 4;
    });
    if (end === undefined) throw new Error(`The connection ended without an answer, after ${quote(this.#received)}`);
    const head = this.#take(end);
    const status = Number(/^HTTP\/1\.1 (\d{3})[ \r]/.exec(head)?.[1]);
    const values = (name: string) => valuesOf(head, name);
    const hasBody = method !== "HEAD" && status >= 200 && status !== 204 && status !== 304;
    const { body, isComplete } = hasBody ? await this.#body(values) : { body: "", isComplete: true };
    return { status, head, body, isComplete, values };
  }

  /** The next answer if there is one, undefined when the connection just ends. */
  async answerOrEnd(): Promise<WireAnswer | undefined> {
    const hasAnswer = await this.#until(() => (this.#received.includes("\r\n\r\n") ? true : undefined));
    return hasAnswer === undefined ? undefined : this.answer();
  }

  /** The next bytes, as many as asked for or as there are before the end. */
  async next(count: number): Promise<string> {
    await this.#until(() => (this.#received.length >= count ? true : undefined));
    return this.#take(count);
  }

  /** Everything that still comes, once the other side has closed. @throws {Error} if it stays open. */
  async untilClosed(): Promise<string> {
    await this.#until(() => undefined);
    return this.#take(this.#received.length);
  }

  /** What has arrived and was not read. */
  get pending(): string {
    return this.#received;
  }

  /** What the other side has not taken yet of what was sent. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** Reads no more until `resume`; the other side has to wait. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Says that nothing more will be sent. */
  end(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #body(values: (name: string) => readonly string[]): Promise<{ body: string; isComplete: boolean }> {
    const length = values("content-length")[0];
    if (values("transfer-encoding").length > 0) return this.#chunks();
    if (length === undefined) return { body: await this.untilClosed(), isComplete: false };
    const size = Number(length);
    const enough = await this.#until(() => (this.#received.length >= size ? true : undefined));
    return { body: this.#take(size), isComplete: enough === true };
  }

  async #chunks(): Promise<{ body: string; isComplete: boolean }> {
    let body = "";
    for (;;) {
      const line = await this.#until(() => {
        const at = this.#received.indexOf("\r\n");
        return at < 0 ? undefined : at + 2;
      });
      if (line === undefined) return { body, isComplete: false };
      const size = Number.parseInt(this.#take(line), 16);
      if (size === 0) {
        const end = await this.#until(() => {
          if (this.#received.startsWith("\r\n")) return 2;
          const at = this.#received.indexOf("\r\n\r\n");
          return at < 0 ? undefined : at + 4;
        });
        this.#take(end ?? 0);
        return { body, isComplete: end !== undefined };
      }
      const enough = await this.#until(() => (this.#received.length >= size + 2 ? true : undefined));
      body += this.#take(enough ? size : this.#received.length);
      if (!enough) return { body, isComplete: false };
      this.#take(2);
    }
  }

  #take(length: number): string {
    const taken = this.#received.slice(0, length);
    this.#received = this.#received.slice(length);
    return taken;
  }

  /** What `look` finds in what was received; undefined when the connection ends before. */
  async #until<T>(look: () => T | undefined): Promise<T | undefined> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#hasEnded) return undefined;
      if (Date.now() > deadline)
        throw new Error(`Nothing more came within ${patienceMs} ms of ${quote(this.#received)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 250);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** All values of a header in a head. */
export function valuesOf(head: string, name: string): readonly string[] {
  const lines = head.split("\r\n").slice(1);
  const fields = lines.map((line) => /^([^:]*):[ \t]*(.*?)[ \t]*$/.exec(line));
  return fields.flatMap((field) => (field?.[1]?.toLowerCase() === name.toLowerCase() ? [field[2] ?? ""] : []));
}

function happened(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`The connection was closed before ${event}`)));
  });
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 400));
}
