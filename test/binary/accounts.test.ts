import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";

const password = "a-good-password";

describe("accounts by the command line", () => {
  let server: BinaryServer;

  beforeAll(async () => {
    server = await startBinaryServer();
    await server.cli(["auth", "register", "--email", "owner@example.com", "--password-stdin"], {
      stdin: `${password}\n`,
    });
  });
  afterAll(async () => {
    await server?.stop();
  });

  /** The newest code that the server printed for an address. */
  const codeFor = (email: string) => {
    const line = server
      .log()
      .split("\n")
      .findLast((text) => text.includes(` for ${email}: `));
    return /(?<!\d)\d{6}(?!\d)/.exec(line ?? "")?.[0] ?? "";
  };
  const asOwner = () =>
    server.cli(["auth", "login", "--email", "owner@example.com", "--password-stdin"], { stdin: `${password}\n` });

  it("finish a registration with a code that was sent again, and get back in with a reset", async () => {
    const email = "ada@example.com";
    await server.cli(["auth", "register", "--email", email, "--password-stdin"], { stdin: `${password}\n` });
    await server.cli(["auth", "resend", "--email", email]);
    await server.cli(["auth", "verify", "--email", email, "--code", codeFor(email)]);
    const asked = await server.run(["auth", "reset-password", "--email", email]);
    expect([asked.code, asked.stderr]).toEqual([0, expect.stringContaining("--code CODE")]);
    const reset = ["auth", "reset-password", "--email", email, "--password-stdin"];
    await server.cli([...reset, "--code", codeFor(email)], { stdin: "another-password\n" });
    expect(await server.cli(["account", "whoami"])).toContain(email);
    const old = await server.run(["auth", "login", "--email", email, "--password-stdin"], { stdin: `${password}\n` });
    expect(old.code).toBe(1);
    const again = await server.run([...reset, "--code", "000000"], { stdin: "a-third-password\n" });
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("Invalid or expired reset code")]);
    await asOwner();
  });

  it("invite a person, and take the invitation back by the end of its token", async () => {
    const link = (await server.cli(["user", "invite", "bob@example.com", "--vault", "default:admin"])).trim();
    const suffix = link.slice(-8);
    expect(await server.cli(["user", "invite", "list"])).toContain(`…${suffix}`);
    const renewed = (await server.cli(["user", "invite", "resend", suffix])).trim().split("\n").at(-1) ?? "";
    expect(renewed).toContain("/invite/av_uinv_");
    await server.cli(["user", "invite", "revoke", `…${renewed.slice(-8)}`]);
    expect(await server.cli(["user", "invite", "list", "--status", "pending"])).toContain("no invitations");
  });

  it("invite an agent, which fetches a token of its own", async () => {
    const prompt = await server.cli(["agent", "invite", "robot", "--vault", "default"]);
    const link = /http\S+\/invite\/av_inv_[0-9a-f]{64}/.exec(prompt)?.[0] ?? "";
    const redeemed = await (await fetch(link, { method: "POST", body: "{}" })).json();
    const token = (redeemed as { av_agent_token: string }).av_agent_token;
    const listed = await server.cli(["vault", "list"], { env: { AGENT_VAULT_TOKEN: token } });
    expect(listed).toContain("default");
    expect(await server.cli(["agent", "invite", "list"])).toContain("redeemed");

    const rotation = await server.cli(["agent", "rotate", "robot", "--invite", "--token-only"]);
    const fresh = await (await fetch(`${server.apiUrl}/invite/${rotation}`, { method: "POST" })).json();
    expect((fresh as { agent_name: string }).agent_name).toBe("robot");
    const ended = await server.run(["vault", "list"], { env: { AGENT_VAULT_TOKEN: token } });
    expect(ended.code).toBe(1);

    const second = await server.cli(["agent", "invite", "second", "--token-only", "--invite-ttl", "2m"]);
    await server.cli(["agent", "invite", "revoke", second.slice(-8)]);
    expect((await fetch(`${server.apiUrl}/invite/${second}`, { method: "POST" })).status).toBe(410);
    expect((await server.run(["agent", "invite", "third", "--invite-ttl", "soon"])).code).toBe(2);
  });

  it("name the agents that a removed person leaves behind", async () => {
    const email = "leaver@example.com";
    await server.cli(["auth", "register", "--email", email, "--password-stdin"], { stdin: `${password}\n` });
    await server.cli(["auth", "verify", "--email", email, "--code", codeFor(email)]);
    await server.cli(["agent", "create", "left-behind", "--token-only"]);
    await asOwner();
    const removed = await server.run(["owner", "user", "remove", email, "--yes"]);
    expect(removed.stderr).toContain("left-behind");
  });
});

it("a server that others can reach is owned by whoever reads its output, not by whoever comes first", async () => {
  await using server = await startBinaryServer({ args: ["--host", "0.0.0.0"] });
  const body = JSON.stringify({ email: "stranger@example.com", password });
  const stranger = await fetch(`${server.apiUrl}/v1/auth/register`, { method: "POST", body });
  expect(stranger.status).toBe(403);
  // It answers a moment before it has said so.
  const printed = /AGENT_VAULT_SETUP_SECRET=([0-9a-f]{32})/;
  await expect.poll(() => server.log()).toMatch(printed);
  const secret = printed.exec(server.log())?.[1] ?? "";
  expect(server.log()).toContain(`/setup/${secret}`);
  const register = (env: Record<string, string>) =>
    server.run(["auth", "register", "--email", "owner@example.com", "--password-stdin"], {
      stdin: `${password}\n`,
      env,
    });
  const without = await register({});
  expect([without.code, without.stderr]).toEqual([1, expect.stringContaining("AGENT_VAULT_SETUP_SECRET")]);
  expect((await register({ AGENT_VAULT_SETUP_SECRET: secret })).code).toBe(0);
  expect(await server.cli(["account", "whoami"])).toContain("owner");
});
