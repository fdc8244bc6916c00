/** A mail server on this machine: it speaks SMTP over real sockets, with STARTTLS and AUTH PLAIN, and keeps what it gets. */
import { createServer, type Socket } from "node:net";
import { createSecureContext, createServer as createTlsServer, TLSSocket } from "node:tls";
import { SmtpTransport } from "../../src/net/smtp.ts";
import type { Certificate } from "./test-authority.ts";

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** Head and body as they were sent, without the dots of the transfer. */
  readonly raw: string;
  /** Did it come over TLS? */
  readonly isEncrypted: boolean;
  /** Who had logged in. */
  readonly user: string | undefined;
}

export interface SmtpServerOptions {
  /** Offers STARTTLS, or with `implicit` speaks TLS from the first byte. */
  readonly tls?: { readonly certificate: Certificate; readonly mode: "starttls" | "implicit" };
  readonly login?: { readonly user: string; readonly password: string };
  /** Mailboxes that there are not. */
  readonly refuses?: (recipient: string) => boolean;
  /** What somebody on the way adds in clear behind the answer to STARTTLS, for the client to read inside of TLS. */
  readonly slipsIn?: string;
  /** Accepts connections and says nothing. */
  readonly isMute?: boolean;
}

export class SmtpServer implements AsyncDisposable {
  readonly received: ReceivedMail[] = [];
  /** Every command line of every client, as it came over the wire before any TLS. */
  readonly clearLines: string[] = [];
  connections = 0;
  readonly #options: SmtpServerOptions;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #close: () => Promise<void> = async () => undefined;

  private constructor(options: SmtpServerOptions) {
    this.#options = options;
  }

  static async start(options: SmtpServerOptions = {}): Promise<SmtpServer> {
    const server = new SmtpServer(options);
    const accept = (socket: Socket) => server.#accept(socket);
    const listener =
      options.tls?.mode === "implicit" ? createTlsServer(options.tls.certificate, accept) : createServer(accept);
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const address = listener.address();
    server.#port = typeof address === "object" && address !== null ? address.port : 0;
    server.#close = () => new Promise((resolve) => listener.close(() => resolve()));
    return server;
  }

  get port(): number {
    return this.#port;
  }

  /** The newest message to an address, once it is there. */
  async mailTo(address: string): Promise<ReceivedMail> {
    for (let attempt = 0; attempt < 500; attempt++) {
      const mail = this.received.findLast(({ to }) => to.includes(address));
      if (mail !== undefined) return mail;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`no mail to ${address} arrived`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#close();
  }

  #accept(socket: Socket): void {
    this.connections += 1;
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined);
    if (this.#options.isMute) return;
    socket.write("220 test ESMTP\r\n");
    this.#converse(socket, this.#options.tls?.mode === "implicit");
  }

  #converse(socket: Socket, isEncrypted: boolean): void {
    let buffer = "";
    let isInData = false;
    let from = "";
    let to: string[] = [];
    let user: string | undefined;
    const say = (line: string) => socket.write(`${line}\r\n`);
    const onData = (chunk: Buffer) => {
      buffer += chunk.toString("utf8");
      for (;;) {
        const end = buffer.indexOf(isInData ? "\r\n.\r\n" : "\r\n");
        if (end < 0) return;
        const line = buffer.slice(0, end);
        buffer = buffer.slice(end + (isInData ? 5 : 2));
        if (isInData) {
          isInData = false;
          this.received.push({ from, to, raw: line.replace(/^\.\./gm, "."), isEncrypted, user });
          to = [];
          say("250 kept");
          continue;
        }
        if (!isEncrypted) this.clearLines.push(line);
        const verb = line.slice(0, 4).toUpperCase();
        if (verb === "EHLO") for (const part of this.#greeting(isEncrypted)) say(part);
        else if (verb === "STAR" && this.#options.tls?.mode === "starttls") {
          say(`220 go${this.#options.slipsIn === undefined ? "" : `\r\n${this.#options.slipsIn}`}`);
          socket.off("data", onData);
          return this.#secure(socket);
        } else if (verb === "AUTH") {
          user = this.#loginOf(line);
          say(user === undefined ? "535 5.7.8 wrong user or password" : "235 welcome");
        } else if (verb === "MAIL") {
          from = addressIn(line);
          say("250 ok");
        } else if (verb === "RCPT") {
          const recipient = addressIn(line);
          if (this.#options.refuses?.(recipient)) say("550 5.1.1 no such mailbox");
          else {
            to.push(recipient);
            say("250 ok");
          }
        } else if (verb === "DATA") {
          isInData = true;
          say("354 go on");
        } else if (verb === "QUIT") {
          say("221 bye");
          socket.end();
          return;
        } else say("502 5.5.1 not here");
      }
    };
    socket.on("data", onData);
  }

  #greeting(isEncrypted: boolean): readonly string[] {
    const { tls, login } = this.#options;
    const extensions = [
      ...(tls?.mode === "starttls" && !isEncrypted ? ["STARTTLS"] : []),
      ...(login ? ["AUTH PLAIN LOGIN"] : []),
      "8BITMIME",
    ];
    return ["250-test", ...extensions.map((name, at) => `250${at === extensions.length - 1 ? " " : "-"}${name}`)];
  }

  #loginOf(line: string): string | undefined {
    const [, user, password] = Buffer.from(line.split(" ")[2] ?? "", "base64")
      .toString("utf8")
      .split("\0");
    const { login } = this.#options;
    return login !== undefined && user === login.user && password === login.password ? user : undefined;
  }

  #secure(socket: Socket): void {
    const certificate = this.#options.tls?.certificate;
    if (certificate === undefined) return;
    const secured = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(certificate) });
    secured.on("error", () => undefined);
    this.#converse(secured, true);
  }
}

/** The product's own transport to a server of a test, in clear. */
export function smtpTransport(server: SmtpServer, options: { readonly timeoutMs?: number } = {}): SmtpTransport {
  return new SmtpTransport({
    host: "127.0.0.1",
    port: server.port,
    security: "opportunistic",
    skipsVerification: false,
    login: undefined,
    from: { name: "Agent Vault", address: "vault@example.com" },
    trust: createSecureContext(),
    ...options,
  });
}

function addressIn(line: string): string {
  return /<([^>]*)>/.exec(line)?.[1] ?? "";
}

/** A header of a message, unfolded; undefined when it has none. */
export function headerOf(mail: ReceivedMail, name: string): string | undefined {
  const head = (mail.raw.split("\r\n\r\n")[0] ?? "").replace(/\r\n[ \t]+/g, " ");
  return new RegExp(`^${name}: (.*)$`, "im").exec(head)?.[1];
}

/** The text and the HTML of a message. */
export function partsOf(mail: ReceivedMail): { readonly text: string; readonly html: string } {
  const boundary = /boundary="([^"]+)"/.exec(headerOf(mail, "content-type") ?? "")?.[1] ?? "";
  const parts = mail.raw
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((part) => part.replace(/^\r\n/, ""));
  const decoded = parts.map((part) => {
    const [head = "", ...rest] = part.split("\r\n\r\n");
    const body = rest.join("\r\n\r\n");
    // The line end before a boundary belongs to the boundary.
    const plain = body.replaceAll("\r\n", "\n").replace(/\n$/, "");
    return /base64/i.test(head) ? Buffer.from(body, "base64").toString("utf8") : plain;
  });
  return { text: decoded[0] ?? "", html: decoded[1] ?? "" };
}
