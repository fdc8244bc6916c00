/**
 * Mail over SMTP (RFC 5321, RFC 3207), through nodemailer. What arrives here is a finished message; what it says is the
 * domain's business.
 */
import { randomInt } from "node:crypto";
import { isIP } from "node:net";
import type { SecureContext } from "node:tls";
import type MailComposer from "nodemailer/lib/mail-composer";
import type SMTPConnection from "nodemailer/lib/smtp-connection";

/**
 * - `implicit`: TLS from the first byte.
 * - `required`: STARTTLS, or nothing is sent.
 * - `opportunistic`: STARTTLS where the server offers it, else in clear.
 * - `none`: in clear.
 *
 * A login never goes over a connection that is not encrypted, whatever the mode.
 */
export type SmtpSecurity = "implicit" | "required" | "opportunistic" | "none";

export interface SmtpOptions {
  readonly host: string;
  readonly port: number;
  readonly security: SmtpSecurity;
  /** The certificate of the server is not looked at: for a relay on a private network with one of its own. */
  readonly skipsVerification: boolean;
  readonly login: { readonly user: string; readonly password: () => string } | undefined;
  readonly from: { readonly name: string; readonly address: string };
  /** The roots that vouch for the server. */
  readonly trust: SecureContext;
  /** For a whole message, from the name lookup to the server's receipt. */
  readonly timeoutMs?: number;
}

/** One message to one person, in text and in HTML. */
export interface OutgoingMail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** People wait for the answer of an invitation, and their clients give up after ten seconds. */
const defaultTimeoutMs = 8_000;

/** Control characters would end a header, and with it begin another. */
const unsafeInHeader = /\p{Cc}/u;

export class SmtpTransport {
  readonly #options: SmtpOptions;

  constructor(options: SmtpOptions) {
    this.#options = options;
  }

  /**
   * Hands one message to the server: a connection of its own, closed whatever happens.
   * @throws {Error} whose message says what the server, or the way to it, had against it. It holds no password.
   */
  async send(mail: OutgoingMail): Promise<void> {
    const { from } = this.#options;
    if ([mail.to, mail.subject, from.name, from.address].some((text) => unsafeInHeader.test(text))) {
      throw new Error("an address or the subject holds a control character");
    }
    // Loaded when the first message goes out: most servers send none.
    const [composer, connection] = await Promise.all([
      import("nodemailer/lib/mail-composer"),
      import("nodemailer/lib/smtp-connection"),
    ]);
    const message = await this.#compose(composer.default, mail);
    await this.#transmit(connection.default, mail.to, message);
  }

  #compose(Composer: typeof MailComposer, mail: OutgoingMail): Promise<Buffer> {
    const domain = this.#options.from.address.split("@").pop();
    return new Composer({
      // A copy, because nodemailer writes into it.
      from: { ...this.#options.from },
      to: { name: "", address: mail.to },
      subject: mail.subject,
      messageId: `<${crypto.randomUUID()}@${domain}>`,
      // Nobody answers a machine: no vacation notices, no loops (RFC 3834, section 5).
      headers: { "Auto-Submitted": "auto-generated" },
      alternatives: [{ raw: mimePart("text/plain", mail.text) }, { raw: mimePart("text/html", mail.html) }],
      baseBoundary: randomLetters(),
      disableFileAccess: true,
      disableUrlAccess: true,
    })
      .compile()
      .build();
  }

  /** The deadline closes the connection, so that a server which answers drop by drop holds nothing of ours. */
  async #transmit(Connection: typeof SMTPConnection, to: string, message: Buffer): Promise<void> {
    const { host, port, security, skipsVerification, login, from, trust } = this.#options;
    const timeoutMs = this.#options.timeoutMs ?? defaultTimeoutMs;
    const isSecret = security !== "implicit" && login !== undefined;
    if (isSecret && security === "none") {
      throw new Error("a login is configured, and it is not sent over a connection without TLS");
    }
    const connection = new Connection({
      host,
      port,
      secure: security === "implicit",
      requireTLS: security === "required" || isSecret,
      ignoreTLS: security === "none",
      // What is called by its name is verified by its name; RFC 6066 knows no address there.
      ...(isIP(host) === 0 && { servername: host }),
      tls: { secureContext: trust, rejectUnauthorized: !skipsVerification, minVersion: "TLSv1.2" },
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      dnsTimeout: timeoutMs,
    });
    await new Promise<void>((resolve, reject) => {
      const late = () => reject(new Error(`no receipt from ${host}:${port} within ${timeoutMs / 1000} s`));
      const timer = setTimeout(late, timeoutMs);
      const done = (error?: Error | null) => {
        clearTimeout(timer);
        if (error) reject(new Error(plain(error.message), { cause: error }));
        else resolve();
      };
      const deliver = () =>
        connection.send({ from: from.address, to: [to] }, message, (error, receipt) =>
          done(error ?? (receipt?.accepted.length === 1 ? null : new Error("the recipient was refused"))),
        );
      connection.on("error", done);
      connection.connect((error) => {
        if (error) return done(error);
        if (login === undefined) return deliver();
        // `secure` is what the connection became, not what was asked of it.
        if (!connection.secure) return done(new Error("the login is not sent over a connection without TLS"));
        connection.login({ user: login.user, pass: login.password() }, (refused) =>
          refused ? done(refused) : deliver(),
        );
      });
    }).finally(() => connection.close());
  }
}

/** A text as a MIME part: as it is where it is plain ASCII, so that links and codes stay in one piece for every reader. */
function mimePart(contentType: string, text: string): string {
  const isPlain = /^[\t\n\x20-\x7e]*$/.test(text) && text.split("\n").every((line) => line.length < 900);
  const encoding = isPlain ? "7bit" : "base64";
  const body = isPlain
    ? text
    : (
        Buffer.from(text)
          .toString("base64")
          .match(/.{1,76}/g) ?? []
      ).join("\n");
  const head = `Content-Type: ${contentType}; charset=UTF-8\nContent-Transfer-Encoding: ${encoding}\n\n`;
  return `${head}${body}`.replaceAll("\n", "\r\n");
}

/** Letters alone: a filter that looks for a code of six digits finds none in the boundary. */
function randomLetters(): string {
  return Array.from({ length: 24 }, () => String.fromCharCode(97 + randomInt(26))).join("");
}

/** A server's words on one line, and not endless. */
function plain(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ").slice(0, 300);
}
