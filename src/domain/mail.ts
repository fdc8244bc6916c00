/**
 * Messages to people, and the seam to whatever carries them. Without a transport a one-time code goes to the server's
 * own output, where the operator reads it and passes it on.
 */
import { InvalidInput, messageOf, UpstreamFailed } from "../errors.ts";
import type { Logger } from "../log.ts";
import { type Content, type Message, renderMessage } from "./mail-content.ts";

export type CodeMessage = Extract<Message, { code: string }>;

export interface MailTransport {
  /** @throws whatever the transport has to say about the failure. */
  send(mail: Content & { readonly to: string }): Promise<void>;
}

const purposes: Readonly<Record<CodeMessage["kind"], string>> = {
  verification: "Verification code",
  "password-reset": "Password reset code",
};

/** Connections to the mail server at once, for messages that nobody waits for. */
const maxSending = 4;
/** Messages that wait for one; beyond these, new ones are dropped and logged. */
const maxWaiting = 1_000;
/** What is on its way when the server stops gets this long. */
const closeLimitMs = 5_000;

export class Mail {
  readonly #transport: MailTransport | undefined;
  readonly #output: (line: string) => void;
  readonly #log: Logger;
  readonly #waiting: Message[] = [];
  readonly #sending = new Set<Promise<void>>();

  constructor(options: {
    readonly transport?: MailTransport | undefined;
    /** Writes one line where the operator of the server sees it; it is not the log. */
    readonly output: (line: string) => void;
    readonly log: Logger;
  }) {
    this.#transport = options.transport;
    this.#output = options.output;
    this.#log = options.log;
  }

  get isConfigured(): boolean {
    return this.#transport !== undefined;
  }

  /**
   * Sends a code in the background, so that the time of an answer does not tell whether there was anything to send.
   * Only a server without mail prints it: where there is mail, a code that fails to arrive must not lie in a log.
   */
  deliverCode(message: CodeMessage): void {
    if (this.#transport === undefined) {
      this.#output(`${purposes[message.kind]} for ${message.to}: ${message.code} (valid for 15 minutes)`);
      return;
    }
    this.deliver(message);
  }

  /** Sends in the background; a failure is logged. Does nothing without a transport. */
  deliver(message: Message): void {
    if (this.#transport === undefined) return;
    if (this.#waiting.length >= maxWaiting) {
      this.#log.warn("too many messages wait for the mail server; one was dropped", { kind: message.kind });
      return;
    }
    this.#waiting.push(message);
    this.#startNext(this.#transport);
  }

  #startNext(transport: MailTransport): void {
    if (this.#sending.size >= maxSending) return;
    const message = this.#waiting.shift();
    if (message === undefined) return;
    const sending = transport
      .send({ to: message.to, ...renderMessage(message) })
      .catch((error: unknown) => {
        this.#log.warn("cannot send mail", { kind: message.kind, error: messageOf(error) });
      })
      .finally(() => {
        this.#sending.delete(sending);
        this.#startNext(transport);
      });
    this.#sending.add(sending);
  }

  /**
   * Sends while the caller waits.
   * @throws {InvalidInput} `smtp_not_configured`.
   * @throws {UpstreamFailed} `mail_failed`.
   */
  async send(message: Message): Promise<void> {
    const transport = this.requireConfigured();
    try {
      await transport.send({ to: message.to, ...renderMessage(message) });
    } catch (error) {
      throw new UpstreamFailed("mail_failed", `The mail could not be sent: ${messageOf(error)}`, { cause: error });
    }
  }

  /** @throws {InvalidInput} `smtp_not_configured`. */
  requireConfigured(): MailTransport {
    if (this.#transport !== undefined) return this.#transport;
    throw new InvalidInput("smtp_not_configured", "SMTP is not configured on this server", {
      hint: "Set AGENT_VAULT_SMTP_HOST and AGENT_VAULT_SMTP_FROM",
    });
  }

  /** Lets what is on its way arrive, for at most five seconds. */
  async close(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, closeLimitMs);
    });
    while (this.#sending.size > 0) {
      const isLate = await Promise.race([Promise.allSettled(this.#sending).then(() => false), late.then(() => true)]);
      if (!isLate) continue;
      const lost = this.#sending.size + this.#waiting.splice(0).length;
      this.#log.warn("the server stopped before all mail was sent", { lost });
      break;
    }
    clearTimeout(timer);
  }
}
