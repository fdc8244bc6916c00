import { connect, createServer, type Socket } from "node:net";

/** Takes connections, and passes their bytes on only when it is opened: until then the TLS handshake waits. */
export class Gate implements AsyncDisposable {
  readonly knocked: Promise<void>;
  readonly #server = createServer();
  readonly #waiting: (() => void)[] = [];
  readonly #sockets: Socket[] = [];
  #isOpen = false;

  private constructor(port: number) {
    let knock = () => undefined as undefined;
    this.knocked = new Promise((resolve) => {
      knock = () => void resolve() as undefined;
    });
    this.#server.on("connection", (socket) => {
      const pass = () => {
        const onward = connect({ host: "127.0.0.1", port });
        this.#sockets.push(socket, onward);
        for (const one of [socket, onward]) one.on("error", () => undefined);
        socket.pipe(onward).pipe(socket);
      };
      socket.on("error", () => undefined);
      if (this.#isOpen) pass();
      else this.#waiting.push(pass);
      knock();
    });
  }

  static async before(port: number): Promise<Gate> {
    const gate = new Gate(port);
    await new Promise<void>((resolve) => gate.#server.listen(0, "127.0.0.1", () => resolve()));
    return gate;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  open(): void {
    this.#isOpen = true;
    for (const pass of this.#waiting.splice(0)) pass();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
