import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts, mustRunBinary, startBinaryServer } from "../support/binary.ts";
import { headerOf, partsOf, SmtpServer } from "../support/smtp-server.ts";
import { TestAuthority } from "../support/test-authority.ts";

const password = "a-good-password";
const login = { user: "vault", password: "smtp-password-1" };

describe("mail from the binary", () => {
  let smtp: SmtpServer;
  let folder: string;
  let variables: Record<string, string>;

  beforeAll(async () => {
    const authority = await TestAuthority.create();
    smtp = await SmtpServer.start({
      tls: { certificate: await authority.issue(["localhost"]), mode: "starttls" },
      login,
    });
    folder = await mkdtemp(join(tmpdir(), "agent-vault-mail-"));
    await writeFile(join(folder, "ca.pem"), authority.pem);
    await writeFile(join(folder, "smtp-password"), `${login.password}\n`, { mode: 0o600 });
    variables = {
      AGENT_VAULT_SMTP_HOST: "localhost",
      AGENT_VAULT_SMTP_PORT: String(smtp.port),
      AGENT_VAULT_SMTP_FROM: "vault@example.com",
      AGENT_VAULT_SMTP_FROM_NAME: "Tresor",
      AGENT_VAULT_SMTP_USERNAME: login.user,
      AGENT_VAULT_SMTP_TLS_MODE: "required",
      AGENT_VAULT_UPSTREAM_CA_FILE: join(folder, "ca.pem"),
    };
  });
  afterAll(async () => {
    await smtp[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it("goes out over STARTTLS with a login, and registers, invites and tests by the command line", async () => {
    const secret = { AGENT_VAULT_SMTP_PASSWORD: login.password };
    await using server = await startBinaryServer({ env: { ...variables, ...secret, LOG_FORMAT: "json" } });
    const register = (email: string) =>
      server.cli(["auth", "register", "--email", email, "--password-stdin"], { stdin: `${password}\n` });
    await register("owner@example.com");
    expect(await server.cli(["owner", "email", "test"])).toContain("Test email sent");
    const mail = await smtp.mailTo("owner@example.com");
    expect(mail).toMatchObject({ isEncrypted: true, user: login.user });
    expect(headerOf(mail, "from")).toBe("Tresor <vault@example.com>");

    await server.cli(["user", "invite", "ada@example.com", "--vault", "default:admin"]);
    expect(partsOf(await smtp.mailTo("ada@example.com")).text).toContain(`${server.apiUrl}/invite/av_uinv_`);

    await register("bob@example.com");
    const code = /(?<!\d)\d{6}(?!\d)/.exec(partsOf(await smtp.mailTo("bob@example.com")).text)?.[0] ?? "";
    await server.cli(["auth", "verify", "--email", "bob@example.com", "--code", code]);
    expect(await server.cli(["account", "whoami"])).toContain("bob@example.com");
    expect(server.log()).not.toContain(code);
    expect(server.log()).not.toContain(login.password);
  });

  it("is set up for a server in the background by its pipe, with the password from a file or the environment", async () => {
    for (const secret of [
      { AGENT_VAULT_SMTP_PASSWORD: login.password },
      { AGENT_VAULT_SMTP_PASSWORD_FILE: join(folder, "smtp-password") },
    ]) {
      const home = await mkdtemp(join(tmpdir(), "agent-vault-home-"));
      const [port, proxyPort] = await freePorts();
      const env = { HOME: home, AGENT_VAULT_ADDR: `http://127.0.0.1:${port}` };
      const email = `owner-${port}@example.com`;
      try {
        await mustRunBinary(["server", "-d", "--port", String(port), "--mitm-port", String(proxyPort)], {
          env: { ...env, ...variables, ...secret },
        });
        const pid = (await readFile(join(home, ".agent-vault", "agent-vault.pid"), "utf8")).trim();
        const environment = await readFile(`/proc/${Number.parseInt(pid, 10)}/environ`, "utf8");
        expect(environment).toContain("AGENT_VAULT_SMTP_HOST");
        expect(environment).not.toContain(login.password);
        await mustRunBinary(["auth", "register", "--email", email, "--password-stdin"], {
          env,
          stdin: `${password}\n`,
        });
        await mustRunBinary(["owner", "email", "test"], { env });
        expect(await smtp.mailTo(email)).toMatchObject({ user: login.user });
      } finally {
        await mustRunBinary(["server", "stop"], { env });
        await rm(home, { recursive: true, force: true });
      }
    }
  });
});
