import { createSecureContext } from "node:tls";
import { beforeAll, describe, expect, it } from "vitest";
import { type SmtpOptions, SmtpTransport } from "../../src/net/smtp.ts";
import { headerOf, partsOf, SmtpServer } from "../support/smtp-server.ts";
import { type Certificate, TestAuthority } from "../support/test-authority.ts";

const login = { user: "vault", password: () => "smtp-password-1" };
const accounts = { user: "vault", password: "smtp-password-1" };
const mail = { to: "ada@example.com", subject: "Hello", text: "Hello Ada\n", html: "<p>Hello Ada</p>\n" };

describe("mail over SMTP", () => {
  let certificate: Certificate;
  let foreign: Certificate;
  let trust: SmtpOptions["trust"];

  beforeAll(async () => {
    const authority = await TestAuthority.create();
    certificate = await authority.issue(["localhost"]);
    foreign = await (await TestAuthority.create()).issue(["localhost"]);
    trust = createSecureContext({ ca: [authority.pem] });
  });

  const transport = (server: SmtpServer, options: Partial<SmtpOptions> = {}) =>
    new SmtpTransport({
      host: "localhost",
      port: server.port,
      security: "opportunistic",
      skipsVerification: false,
      login: undefined,
      from: Object.freeze({ name: "Agent Vault", address: "vault@example.com" }),
      trust,
      ...options,
    });

  it("arrives in text and HTML, dated, identified and marked as written by a machine", async () => {
    await using server = await SmtpServer.start();
    await transport(server).send(mail);
    const [received] = server.received;
    expect(received).toMatchObject({ from: "vault@example.com", to: ["ada@example.com"], isEncrypted: false });
    if (received === undefined) return;
    expect(headerOf(received, "from")).toBe("Agent Vault <vault@example.com>");
    expect(headerOf(received, "to")).toBe("ada@example.com");
    expect(headerOf(received, "subject")).toBe("Hello");
    expect(Date.parse(headerOf(received, "date") ?? "")).toBeGreaterThan(Date.now() - 60_000);
    expect(headerOf(received, "message-id")).toMatch(/^<[0-9a-f-]{36}@example\.com>$/);
    expect(headerOf(received, "auto-submitted")).toBe("auto-generated");
    expect(headerOf(received, "content-type")).toContain("multipart/alternative");
    expect(partsOf(received)).toEqual({ text: "Hello Ada\n", html: "<p>Hello Ada</p>\n" });
  });

  it("carries names and words of every script", async () => {
    await using server = await SmtpServer.start();
    const from = { name: "Tresor für Ünïcode", address: "vault@example.com" };
    await transport(server, { from }).send({ ...mail, subject: "Grüße", text: "Grüße aus Köln, привет\n" });
    const [received] = server.received;
    if (received === undefined) throw new Error("nothing arrived");
    expect(Buffer.from(received.raw).every((byte) => byte < 0x80)).toBe(true);
    expect(headerOf(received, "subject")).toMatch(/^=\?UTF-8\?/i);
    expect(partsOf(received).text).toBe("Grüße aus Köln, привет\n");
  });

  it.each(["\r\nBcc: eve@example.com", "\nX: y", "\u0000", "\r"])(
    "refuses an address or subject that would become another header: %j",
    async (tail) => {
      await using server = await SmtpServer.start();
      await expect(transport(server).send({ ...mail, to: `ada@example.com${tail}` })).rejects.toThrow("control");
      await expect(transport(server).send({ ...mail, subject: `Hello${tail}` })).rejects.toThrow("control");
      expect(server.connections).toBe(0);
    },
  );

  it("keeps a line with a dot, and ends no message early", async () => {
    await using server = await SmtpServer.start();
    await transport(server).send({ ...mail, text: "before\n.\nafter\n" });
    expect(server.received).toHaveLength(1);
    expect(server.received[0] && partsOf(server.received[0]).text).toBe("before\n.\nafter\n");
  });

  it.each([
    { security: "opportunistic", offers: "starttls", encrypted: true, because: "STARTTLS is used where it is offered" },
    { security: "opportunistic", offers: undefined, encrypted: false, because: "else the message goes in clear" },
    { security: "required", offers: "starttls", encrypted: true, because: "required and offered" },
    { security: "none", offers: "starttls", encrypted: false, because: "the offer is not taken" },
    { security: "implicit", offers: "implicit", encrypted: true, because: "TLS from the first byte" },
  ] as const)("$security with $offers: encrypted is $encrypted, $because", async ({ security, offers, encrypted }) => {
    await using server = await SmtpServer.start(offers ? { tls: { certificate, mode: offers } } : {});
    await transport(server, { security }).send(mail);
    expect(server.received).toMatchObject([{ isEncrypted: encrypted }]);
  });

  it("sends nothing where TLS is required and somebody took the offer away", async () => {
    await using server = await SmtpServer.start();
    await expect(transport(server, { security: "required" }).send(mail)).rejects.toThrow();
    expect(server.received).toEqual([]);
  });

  it.each(["required", "opportunistic", "implicit"] as const)("logs in over TLS: %s", async (security) => {
    const mode = security === "implicit" ? "implicit" : "starttls";
    await using server = await SmtpServer.start({ tls: { certificate, mode }, login: accounts });
    await transport(server, { security, login }).send(mail);
    expect(server.received).toMatchObject([{ isEncrypted: true, user: "vault" }]);
  });

  it.each(["required", "opportunistic", "none"] as const)(
    "gives its password to nobody over a connection in clear: %s",
    async (security) => {
      await using server = await SmtpServer.start({ login: accounts });
      await expect(transport(server, { security, login }).send(mail)).rejects.toThrow();
      expect(server.received).toEqual([]);
      expect(server.clearLines.filter((line) => /^AUTH/i.test(line))).toEqual([]);
    },
  );

  it("gives neither password nor message to a server that nobody vouches for, unless told so", async () => {
    const tls = { certificate: foreign, mode: "starttls" } as const;
    await using server = await SmtpServer.start({ tls, login: accounts });
    await expect(transport(server, { login }).send(mail)).rejects.toThrow();
    expect(server.received).toEqual([]);
    await transport(server, { login, skipsVerification: true }).send(mail);
    expect(server.received).toMatchObject([{ isEncrypted: true, user: "vault" }]);
  });

  it("gives its password to no server with a certificate of another name", async () => {
    await using server = await SmtpServer.start({ tls: { certificate, mode: "implicit" }, login: accounts });
    await expect(transport(server, { security: "implicit", login, host: "127.0.0.1" }).send(mail)).rejects.toThrow();
    expect(server.received).toEqual([]);
  });

  it("reads nothing inside of TLS that came before it: whoever is on the way answers no command", async () => {
    // CVE-2011-0411, from the side of the client. Taken for the answer to a command, it would end or confuse the talk.
    const tls = { certificate, mode: "starttls" } as const;
    await using server = await SmtpServer.start({ tls, login: accounts, slipsIn: "554 5.7.1 slipped in" });
    const outcome = await transport(server, { security: "required", login })
      .send(mail)
      .then(
        () => "sent",
        (error: Error) => error.message,
      );
    expect(outcome).not.toContain("slipped in");
    expect(server.received.every(({ isEncrypted }) => isEncrypted)).toBe(true);
    expect(server.clearLines.filter((line) => /^(AUTH|MAIL|RCPT)/i.test(line))).toEqual([]);
  });

  it("says what the server had against it, and never the password", async () => {
    const refuses = (recipient: string) => recipient === "ada@example.com";
    await using server = await SmtpServer.start({ refuses });
    await expect(transport(server).send(mail)).rejects.toThrow("no such mailbox");
    await using strict = await SmtpServer.start({ tls: { certificate, mode: "starttls" }, login: accounts });
    const wrong = { user: "vault", password: () => "not-the-password" };
    const error = await transport(strict, { login: wrong })
      .send(mail)
      .then(
        () => undefined,
        (reason: Error) => reason,
      );
    expect(error?.message).toContain("535");
    expect(`${error?.message} ${error?.stack} ${JSON.stringify(error?.cause)}`).not.toContain("not-the-password");
  });

  it("gives up on a server that says nothing, and hangs up", async () => {
    await using server = await SmtpServer.start({ isMute: true });
    await expect(transport(server, { timeoutMs: 100 }).send(mail)).rejects.toThrow();
    expect(server.connections).toBe(1);
  });

  it("says so when nobody listens", async () => {
    const server = await SmtpServer.start();
    const { port } = server;
    await server[Symbol.asyncDispose]();
    await expect(transport(server, { port }).send(mail)).rejects.toThrow("ECONNREFUSED");
  });
});
