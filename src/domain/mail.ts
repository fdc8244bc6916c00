/**
 * The messages that people get, and the seam to whatever carries them. Without a transport a one-time code goes to the
 * server's own output, where the operator reads it and passes it on.
 */
import { InvalidInput, messageOf, UpstreamFailed } from "../errors.ts";
import type { Logger } from "../log.ts";

export type Message =
  | { readonly kind: "verification" | "password-reset"; readonly to: string; readonly code: string }
  | {
      readonly kind: "invitation";
      readonly to: string;
      readonly inviter: string;
      readonly vaults: readonly string[];
      readonly link: string;
    }
  | {
      readonly kind: "credential-expiry";
      readonly to: string;
      readonly vault: string;
      readonly credentials: readonly ExpiringCredential[];
    }
  | {
      readonly kind: "proposal";
      readonly to: string;
      readonly vault: string;
      /** Who asks: an agent's name, or whose token it is. */
      readonly agent: string;
      /** Its number within the vault. */
      readonly number: number;
      /** The beginning of what the agent says about it, on one line, without control characters. */
      readonly message: string;
      readonly link: string;
    }
  | { readonly kind: "test"; readonly to: string };

export interface ExpiringCredential {
  readonly key: string;
  readonly expiresAt: string;
  readonly hasEnded: boolean;
}

export type CodeMessage = Extract<Message, { code: string }>;

export interface MailTransport {
  /** @throws whatever the transport has to say about the failure. */
  send(message: Message): Promise<void>;
}

const purposes: Readonly<Record<CodeMessage["kind"], string>> = {
  verification: "Verification code",
  "password-reset": "Password reset code",
};

export class Mail {
  readonly #transport: MailTransport | undefined;
  readonly #output: (line: string) => void;
  readonly #log: Logger;

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

  /** Sends a code in the background, so that the time of an answer does not tell whether there was anything to send. */
  deliverCode(message: CodeMessage): void {
    if (this.#transport === undefined) {
      this.#print(message);
      return;
    }
    this.#transport.send(message).catch((error: unknown) => {
      this.#log.warn("cannot send mail", { kind: message.kind, error: messageOf(error) });
      this.#print(message);
    });
  }

  /** Sends in the background; a failure is logged. Does nothing without a transport. */
  deliver(message: Message): void {
    this.#transport?.send(message).catch((error: unknown) => {
      this.#log.warn("cannot send mail", { kind: message.kind, error: messageOf(error) });
    });
  }

  /**
   * @throws {InvalidInput} `smtp_not_configured`.
   * @throws {UpstreamFailed} `mail_failed`.
   */
  async send(message: Message): Promise<void> {
    if (this.#transport === undefined) {
      throw new InvalidInput("smtp_not_configured", "SMTP is not configured on this server", {
        hint: "Set AGENT_VAULT_SMTP_HOST and AGENT_VAULT_SMTP_FROM",
      });
    }
    try {
      await this.#transport.send(message);
    } catch (error) {
      throw new UpstreamFailed("mail_failed", `The mail could not be sent: ${messageOf(error)}`, { cause: error });
    }
  }

  #print({ kind, to, code }: CodeMessage): void {
    this.#output(`${purposes[kind]} for ${to}: ${code} (valid for 15 minutes)`);
  }
}
