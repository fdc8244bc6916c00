import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type BinaryServer,
  binaryPath,
  freePorts,
  mustRunBinary,
  runBinary,
  startBinaryServer,
} from "../support/binary.ts";
import { runInTerminal, type Step } from "../support/terminal.ts";

const password = "a-good-password";

describe("the command line at a terminal", () => {
  let server: BinaryServer;
  let home: string;
  const env = () => ({ HOME: home });
  const there = () => ["Server [1-2]: ", "2\r"] as const;
  const address = () => ["Address: ", `${server.apiUrl}/\r`] as const;

  beforeAll(async () => {
    server = await startBinaryServer();
    home = await mkdtemp(join(tmpdir(), "agent-vault-person-"));
  });
  afterAll(async () => {
    await server?.stop();
    await rm(home, { recursive: true, force: true });
  });

  it("leads somebody without a login to an account, and then does what was asked", async () => {
    const { code, screen } = await runInTerminal(["vault", "list"], {
      env: env(),
      steps: [
        there(),
        address(),
        ["E-mail: ", "owner@example.com\r"],
        ["Password: ", `${password}\r`],
        ["again: ", `${password}\r`],
      ],
    });
    expect(code, screen).toBe(0);
    expect(screen).toContain("now owns it");
    expect(screen).toMatch(/│ default +│/);
    expect(screen).not.toContain(password);
    expect(JSON.parse(await readFile(join(home, ".agent-vault", "session.json"), "utf8"))).toMatchObject({
      address: server.apiUrl,
      email: "owner@example.com",
    });
  });

  it("keeps data free of the questions", async () => {
    const fresh = await mkdtemp(join(tmpdir(), "agent-vault-fresh-"));
    const out = join(fresh, "out");
    const { code, screen } = await runInTerminal(
      ["-c", `"$0" vault current --json > "$1" && "$0" account whoami --json > "$1"`, binaryPath, out],
      {
        program: "/bin/sh",
        env: { HOME: fresh },
        steps: [
          there(),
          address(),
          ["Account [1-2]: ", "1\r"],
          ["E-mail: ", "owner@example.com\r"],
          ["Password: ", `${password}\r`],
        ],
      },
    );
    expect(code, screen).toBe(0);
    expect(JSON.parse(await readFile(out, "utf8"))).toMatchObject({ email: "owner@example.com" });
    await rm(fresh, { recursive: true, force: true });
  });

  it("asks for an expired login's password once and goes on", async () => {
    const file = join(home, ".agent-vault", "session.json");
    const login = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ ...login, token: "av_sess_expired" }));
    const { code, screen } = await runInTerminal(["agent", "list"], {
      env: env(),
      steps: [["Password of owner@example.com: ", `${password}\r`]],
    });
    expect(code, screen).toBe(0);
    expect(screen).toContain("has expired");
    expect(screen).toContain("There are no agents.");
  });

  it("asks for a credential without showing it, also when keys are corrected", async () => {
    const { code, screen } = await runInTerminal(["vault", "credential", "set", "TYPED"], {
      env: env(),
      steps: [["TYPED: ", "sekret-valux\u007f-\u001b[Due\r"]],
    });
    expect(code, screen).toBe(0);
    expect(screen).not.toContain("sekret");
    expect(await mustRunBinary(["creds", "get", "TYPED"], { env: env() })).toBe("sekret-valu-ue");
  });

  it("ends by SIGINT at Ctrl-C, hidden or not, and leaves the terminal as it was", async () => {
    const hidden = await runInTerminal(["-c", `"$0" creds set LEFT; echo "ended $?"; stty -a`, binaryPath], {
      program: "/bin/sh",
      env: env(),
      steps: [["LEFT: ", "\u0003"]],
    });
    expect(hidden.screen).toContain("ended 130");
    expect(hidden.screen).toMatch(/ echo /);
    const plain = await runInTerminal(["vault", "service", "clear"], { env: env(), steps: [["[y/N] ", "\u0003"]] });
    expect(plain.code).toBe(130);
  });

  it("takes no for an answer, and end of input for none", async () => {
    await mustRunBinary(["vault", "create", "doomed"], { env: env() });
    const declined = await runInTerminal(["vault", "delete", "doomed"], {
      env: env(),
      steps: [['Type "doomed" to confirm: ', "default\r"]],
    });
    expect(declined).toMatchObject({ code: 0 });
    expect(declined.screen).toContain("Aborted.");
    const ended = await runInTerminal(["vault", "delete", "doomed"], {
      env: env(),
      steps: [["to confirm: ", "\u0004"]],
    });
    expect(ended.code).toBe(1);
    expect(await mustRunBinary(["vault", "list"], { env: env() })).toContain("doomed");
    const done = await runInTerminal(["vault", "delete", "doomed"], {
      env: env(),
      steps: [["to confirm: ", "doomed\r"]],
    });
    expect(done.screen).toContain("deleted");
  });

  it("builds services by questions, from the catalog too, and sends nothing before a yes", async () => {
    const add = ["vault", "service", "add", "--vault", "default"];
    const questions: readonly Step[] = [
      ["catalog: ", "stripe\r"],
      ["Name [stripe]: ", "\r"],
      ["token [STRIPE_SECRET_KEY]: ", "\r"],
      ["Another service? [y/N] ", "y\r"],
      ["catalog: ", "api.example.com\r"],
      ["Name [api-example-com]: ", "Not A Name\r"],
      ["Authentication [1-5]: ", "5\r"],
      ["(empty for none): ", "\r"],
      ["once more", ""],
      ["catalog: ", "api.example.com/v1/*\r"],
      ["Name [api-example-com-v1]: ", "example\r"],
      ["Authentication [1-5]: ", "api-key\r"],
      ["Header [Authorization]: ", "X-Key\r"],
      ["(empty for none): ", "\r"],
      ["the key: ", "typed\r"],
      ["(empty for none): ", "__acct__=ACCT@path\r"],
      ["(empty for none): ", "\r"],
      ["Another service? [y/N] ", "\r"],
    ];
    const declined = await runInTerminal(add, { env: env(), steps: [...questions, ["[y/N] ", "n\r"]] });
    expect(declined.screen).toContain("not stored yet: ACCT, STRIPE_SECRET_KEY");
    expect(await mustRunBinary(["vault", "service", "list"], { env: env() })).toContain("no services");
    const done = await runInTerminal(add, { env: env(), steps: [...questions, ["[y/N] ", "y\r"]] });
    expect(done.code, done.screen).toBe(0);
    const { services } = JSON.parse(await mustRunBinary(["vault", "service", "list", "--json"], { env: env() }));
    expect(services).toMatchObject([
      { name: "stripe", host: "api.stripe.com", auth: { type: "bearer", token: "STRIPE_SECRET_KEY" } },
      { name: "example", auth: { type: "api-key", key: "TYPED", header: "X-Key" } },
    ]);
    const replaced = await runInTerminal(["vault", "service", "set"], {
      env: env(),
      steps: [
        ["New services [1-2]: ", "2\r"],
        ["catalog: ", "a.example.com\r"],
        ["Name [a-example-com]: ", "\r"],
        ["Authentication [1-5]: ", "passthrough\r"],
        ["(empty for none): ", "\r"],
        ["Another service? [y/N] ", "\r"],
        ["by these? [y/N] ", "y\r"],
      ],
    });
    expect(replaced.code, replaced.screen).toBe(0);
    expect(await mustRunBinary(["vault", "service", "list"], { env: env() })).not.toContain("stripe");
  });

  it("takes Ctrl-C for a no where a row of questions has changed nothing yet", async () => {
    const built = await runInTerminal(["vault", "service", "add", "--vault", "default"], {
      env: env(),
      steps: [["catalog: ", "\u0003"]],
    });
    expect(built).toMatchObject({ code: 0 });
    expect(built.screen).toContain("Aborted.");
    for (const key of ["FIRST", "SECOND"]) {
      await mustRunBinary(["vault", "proposal", "create", "--credential", key, "--vault", "default"], { env: env() });
    }
    const reviewed = await runInTerminal(["vault", "proposal", "review", "--vault", "default"], {
      env: env(),
      steps: [
        ["[q]uit? ", "r\r"],
        ["(may be empty): ", "\r"],
        ["[q]uit? ", "\u0003"],
      ],
    });
    expect(reviewed).toMatchObject({ code: 0 });
    // What was decided before stays, and is said.
    expect(reviewed.screen).toMatch(/Aborted\.\n1 rejected: #\d+/);
  });

  it("asks for the host of a template that is for many, and puts a credential into a header as it is used there", async () => {
    await mustRunBinary(["vault", "service", "clear", "--yes", "--vault", "default"], { env: env() });
    const { code, screen } = await runInTerminal(["vault", "service", "add", "--vault", "default"], {
      env: env(),
      steps: [
        ["catalog: ", "jira\r"],
        ["Your host in *.atlassian.net: ", "yours.atlassian.net\r"],
        ["Name [jira]: ", "\r"],
        ["user name [JIRA_EMAIL]: ", "\r"],
        ["for none [JIRA_API_TOKEN]: ", "\r"],
        ["Another service? [y/N] ", "y\r"],
        ["catalog: ", "api.example.com\r"],
        ["Name [api-example-com]: ", "\r"],
        ["Authentication [1-5]: ", "custom\r"],
        ["Header: ", "Authorization\r"],
        ["{{ KEY }} in it: ", "EXAMPLE_KEY\r"],
        ["Value of Authorization [1-4]: ", "2\r"],
        ["(empty for none): ", "X-Account\r"],
        ["{{ KEY }} in it: ", "ACCOUNT\r"],
        ["(empty for none): ", "\r"],
        ["(empty for none): ", "\r"],
        ["Another service? [y/N] ", "\r"],
        ["[y/N] ", "y\r"],
      ],
    });
    expect(code, screen).toBe(0);
    const { services } = JSON.parse(await mustRunBinary(["vault", "service", "list", "--json"], { env: env() }));
    expect(services).toMatchObject([
      { host: "yours.atlassian.net", auth: { type: "basic", username: "JIRA_EMAIL", password: "JIRA_API_TOKEN" } },
      { auth: { headers: { Authorization: "token {{ EXAMPLE_KEY }}", "X-Account": "{{ ACCOUNT }}" } } },
    ]);
  });

  it("colours for a terminal and not for NO_COLOR, a dumb terminal or a pipe", async () => {
    const sequence = "\u001b[";
    expect((await runInTerminal(["vault", "list"], { env: env() })).screen).toContain(sequence);
    expect((await runInTerminal(["vault", "list"], { env: { ...env(), NO_COLOR: "1" } })).screen).not.toContain(
      sequence,
    );
    expect((await runInTerminal(["vault", "list"], { env: { ...env(), TERM: "dumb" } })).screen).not.toContain(
      sequence,
    );
    expect(await mustRunBinary(["vault", "list"], { env: env() })).not.toContain(sequence);
    expect((await runInTerminal(["vault", "frobnicate"], { env: env() })).screen).toContain(`${sequence}31merror:`);
  });

  it("copies an agent's token for a person, and never for a script or against --no-copy", async () => {
    const bin = await mkdtemp(join(tmpdir(), "agent-vault-clipboard-"));
    const copied = join(bin, "copied");
    await writeFile(join(bin, "xclip"), `#!/bin/sh\ncat > ${copied}\n`);
    await chmod(join(bin, "xclip"), 0o755);
    const withClipboard = { ...env(), DISPLAY: ":9", PATH: `${bin}:${process.env.PATH}` };
    await mustRunBinary(["agent", "create", "scripted"], { env: withClipboard });
    await runInTerminal(["agent", "create", "unasked", "--no-copy"], { env: withClipboard });
    await runInTerminal(["agent", "create", "bare", "--token-only"], { env: withClipboard });
    await expect(stat(copied)).rejects.toThrow("ENOENT");
    const { screen } = await runInTerminal(["agent", "create", "copied"], { env: withClipboard });
    expect(screen).toContain("in the clipboard");
    expect(screen).toContain(await readFile(copied, "utf8"));
    expect(await readFile(copied, "utf8")).toMatch(/^av_agt_/);
    await rm(bin, { recursive: true, force: true });
  });

  it("shows the server before a password is typed, and forgets the login at logout, once", async () => {
    const fresh = await mkdtemp(join(tmpdir(), "agent-vault-fresh-"));
    const there = { HOME: fresh, AGENT_VAULT_ADDR: server.apiUrl };
    const { code, screen } = await runInTerminal(["auth", "login"], {
      env: there,
      steps: [
        [`Server: ${server.apiUrl}`, ""],
        ["E-mail: ", "owner@example.com\r"],
        ["Password: ", `${password}\r`],
      ],
    });
    expect(code, screen).toBe(0);
    const file = join(fresh, ".agent-vault", "session.json");
    const { token } = JSON.parse(await readFile(file, "utf8"));
    await mustRunBinary(["auth", "logout"], { env: { HOME: fresh } });
    await expect(stat(file)).rejects.toThrow("ENOENT");
    const asBefore = { headers: { authorization: `Bearer ${token}` } };
    expect((await fetch(`${server.apiUrl}/v1/admin/users/me`, asBefore)).status).toBe(401);
    expect((await runBinary(["auth", "logout"], { env: { HOME: fresh } })).stderr).toContain("Nobody is logged in");
    await rm(fresh, { recursive: true, force: true });
  });

  it("gives a child of run the terminal", async () => {
    const { code, screen } = await runInTerminal(
      [
        "run",
        "-q",
        "--vault",
        "default",
        "--",
        "sh",
        "-c",
        "test -t 0 && test -t 1 && read line && echo got-$line; exit 5",
      ],
      { env: env(), steps: [["", "hello\r"]] },
    );
    expect(screen).toContain("got-hello");
    expect(code).toBe(5);
  });
});

describe("a new server at a terminal", () => {
  it("asks for the master password and the owner, and is then run in the background", async () => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-new-"));
    const [port, proxyPort] = await freePorts();
    const env = { HOME: home };
    const started = await runInTerminal(["server", "-d", "--port", String(port), "--mitm-port", String(proxyPort)], {
      env,
      steps: [
        ["New master password: ", "correct-horse\r"],
        ["Once more: ", "correct-horse\r"],
        ["E-mail of the owner: ", "me\r"],
        ["E-mail of the owner: ", "me@example.com\r"],
        ["Password: ", `${password}\r`],
        ["again: ", `${password}\r`],
      ],
    });
    try {
      expect(started.code, started.screen).toBe(0);
      expect(await mustRunBinary(["account", "whoami", "--json"], { env }).then(JSON.parse)).toMatchObject({
        role: "owner",
      });
    } finally {
      await runBinary(["server", "stop"], { env });
    }
    expect((await stat(join(home, ".agent-vault", "agent-vault.db"))).mode & 0o777).toBe(0o600);
    await rm(home, { recursive: true, force: true });
  });
});
