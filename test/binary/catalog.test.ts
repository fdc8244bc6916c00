import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";

describe("the catalog on the command line", () => {
  let server: BinaryServer;
  const json = async (...args: string[]) => JSON.parse(await server.cli([...args, "--json"]));

  beforeAll(async () => {
    server = await startBinaryServer();
    const register = ["auth", "register", "--email", "owner@example.com", "--password-stdin"];
    await server.cli(register, { stdin: "a-good-password\n" });
  });
  afterAll(async () => server?.stop());

  it("lists, as it always did, and by category", async () => {
    const all = await json("catalog");
    expect(all.services.length).toBeGreaterThan(200);
    expect(await json("catalog", "list")).toEqual(all);
    expect(await server.cli(["catalog"])).toMatch(
      /│ telegram +│ Telegram +│ api\.telegram\.org +│ passthrough \+ subst/,
    );
    const ai = await json("catalog", "--category", "ai");
    expect(new Set(ai.services.map((template: { category: string }) => template.category))).toEqual(new Set(["ai"]));
    const unknown = await server.run(["catalog", "--category", "misc"]);
    expect(unknown).toMatchObject({ code: 2, stdout: "" });
    expect(unknown.stderr).toContain("one of ai, analytics, ");
  });

  it.each([
    { search: ["yours.atlassian.net"], finds: ["jira"], because: "a wildcard covers it" },
    { search: ["https://api.stripe.com/v1/charges"], finds: ["stripe"], because: "the address that failed" },
    { search: ["OPENAI_API_KEY"], finds: ["azure-openai", "openai"], because: "the credential that is at hand" },
    { search: ["google", "mail"], finds: ["gmail"], because: "every word has to fit" },
    { search: ["evilatlassian.net"], finds: [], because: "a wildcard ends at a dot" },
    { search: ["a.b.atlassian.net"], finds: [], because: "and stands for one label" },
  ])("searches $search: $because", async ({ search, finds }) => {
    const { services } = await json("catalog", "search", ...search);
    expect(services.map(({ id }: { id: string }) => id)).toEqual(finds);
  });

  it("says so when nothing fits, and suggests a template for a misspelt one", async () => {
    expect(await server.cli(["catalog", "search", "nobody-has-this"])).toBe("No template fits.\n");
    const misspelt = await server.run(["catalog", "show", "strpe"]);
    expect(misspelt).toMatchObject({ code: 1, stdout: "" });
    expect(misspelt.stderr).toContain("try:   stripe");
  });

  it("shows what a template sends and how to add it", async () => {
    const { stdout, stderr } = await server.run(["catalog", "show", "jira"]);
    expect(stdout).toMatch(/^Sends: +Authorization: Basic, of \{\{ JIRA_EMAIL \}\} and \{\{ JIRA_API_TOKEN \}\}$/m);
    expect(stderr).toContain("vault service add --template jira --host yours.atlassian.net");
    expect(await json("catalog", "show", "stripe")).toMatchObject({ id: "stripe", category: "payments" });
  });

  it("adds a service from a template under a name that is free, and names what is not stored", async () => {
    await server.cli([
      "vault",
      "service",
      "add",
      "--name",
      "stripe",
      "--host",
      "x.example.com",
      "--auth-type",
      "passthrough",
    ]);
    const added = await server.run(["vault", "service", "add", "--template", "stripe"]);
    expect(added.stdout).toBe('✓ Service "stripe-2" is in the vault "default"\n');
    expect(added.stderr).toContain("Not stored yet: STRIPE_SECRET_KEY (https://docs.stripe.com/");
    await server.cli(["creds", "set", "STRIPE_SECRET_KEY", "--stdin"], { stdin: "sk_1" });
    const again = await server.run(["vault", "service", "add", "--template", "stripe"]);
    expect(again).toMatchObject({ code: 0, stderr: "", stdout: '✓ Service "stripe-2" is in the vault "default"\n' });
    const { services } = await json("vault", "service", "list");
    expect(services).toEqual([
      { name: "stripe", host: "x.example.com", auth: { type: "passthrough" } },
      { name: "stripe-2", host: "api.stripe.com", auth: { type: "bearer", token: "STRIPE_SECRET_KEY" } },
    ]);
  });

  it("adds nothing where a stranger could get the credential", async () => {
    const refused = await server.run(["vault", "service", "add", "--template", "zendesk"]);
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toContain("try:   --host yours.zendesk.com");
    const { services } = await json("vault", "service", "list");
    expect(JSON.stringify(services)).not.toContain("zendesk");
  });

  it("asks for a service and the credentials that are missing", async () => {
    await server.cli(["creds", "set", "TWILIO_ACCOUNT_SID", "--stdin"], { stdin: "AC1" });
    const { id } = await json(
      "vault",
      "proposal",
      "create",
      "--template",
      "twilio",
      "--credential",
      "TWILIO_AUTH_TOKEN=the main one",
    );
    const { services_json, credentials_json } = await json("vault", "proposal", "show", String(id));
    expect(JSON.parse(services_json)).toMatchObject([
      {
        name: "twilio",
        host: "api.twilio.com",
        auth: { username: "TWILIO_ACCOUNT_SID", password: "TWILIO_AUTH_TOKEN" },
      },
    ]);
    // One is stored, and the person described the other.
    expect(JSON.parse(credentials_json)).toEqual([
      { action: "set", key: "TWILIO_AUTH_TOKEN", description: "the main one" },
    ]);
    const other = await json("vault", "proposal", "create", "--template", "openai");
    expect(JSON.parse((await json("vault", "proposal", "show", String(other.id))).credentials_json)).toMatchObject([
      {
        key: "OPENAI_API_KEY",
        description: "For OpenAI",
        obtain: "https://platform.openai.com/docs/api-reference/authentication",
      },
    ]);
  });

  it("lists hosts that agents called in vain, with a template for each", async () => {
    await server.cli(["vault", "settings", "set", "--unmatched-host-policy", "deny"]);
    const curl = ["curl", "-s", "-o", "/dev/null", "https://yours.atlassian.net/rest"];
    await server.run(["run", "-q", "--", ...curl]);
    await expect
      .poll(async () => (await json("vault", "service", "discovered")).hosts, { timeout: 10_000 })
      .toMatchObject([{ host: "yours.atlassian.net", templates: ["jira"] }]);
    expect(await server.cli(["vault", "service", "discovered"])).toMatch(/│ yours\.atlassian\.net │ 1 .*│ jira +│/);
  });
});
