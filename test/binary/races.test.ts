/**
 * What must hold when many ask at the same moment: real requests in parallel, to one built binary on SQLite and to two on
 * one PostgreSQL.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ApiAnswer, ServerGroup, tally } from "../support/server-group.ts";

const password = "correct-pass-1";
const many = 8;

describe.each(["sqlite", "postgres"] as const)("requests at the same moment (%s)", (engine) => {
  let group: ServerGroup;
  let owner: string;

  beforeAll(async () => {
    group = await ServerGroup.start(engine);
  });
  afterAll(async () => {
    await group[Symbol.asyncDispose]();
  });

  const asOwner = (method: string, path: string, body?: object) => group.call(method, path, { token: owner, body });
  const made = (method: string, path: string, body?: object) => group.expect(201, method, path, { token: owner, body });
  const passthrough = { type: "passthrough" };
  const service = (name: string) => ({ name, host: `${name}.example.com`, auth: passthrough });
  const serviceNames = async (vault: string) => {
    const { body } = await asOwner("GET", `/v1/vaults/${vault}/services`);
    return (body.services as { name: string }[]).map(({ name }) => name).sort();
  };
  /** Somebody with an account, who is signed in. */
  async function enter(email: string, role: string): Promise<string> {
    const invite = await made("POST", "/v1/users/invites", { email, role });
    const path = `/v1/users/invites/${String(invite.invite_link).split("/invite/")[1]}/accept`;
    await group.expect(200, "POST", path, { body: { password } });
    return String((await group.expect(200, "POST", "/v1/auth/login", { body: { email, password } })).token);
  }

  it("make one first owner", async () => {
    const answers = await group.atOnce(many, (index) =>
      group.call("POST", "/v1/auth/register", { body: { email: `first-${index}@example.com`, password } }),
    );
    expect(tally(answers)).toEqual({ 201: many });
    const owners = answers.filter(({ body }) => body.role === "owner");
    expect(owners).toHaveLength(1);
    owner = String(owners[0]?.body.token);
    await group.initialized();
    const { users } = await group.expect(200, "GET", "/v1/users", { token: owner });
    expect((users as { role: string }[]).filter(({ role }) => role === "owner")).toHaveLength(1);
  });

  it("leave an owner, whoever ends whom", async () => {
    const ada = await enter("ada@example.com", "owner");
    const { av_agent_token: robot } = await made("POST", "/v1/agents", { name: "robot-owner", role: "owner" });
    const { email } = await group.expect(200, "GET", "/v1/auth/me", { token: owner });
    const body = { role: "member" };
    const demote = (token: unknown, address: unknown) =>
      group.call("POST", `/v1/admin/users/${address}/role`, { token: String(token), body });
    const answers = await Promise.all([
      demote(owner, "ada@example.com"),
      demote(ada, email),
      demote(robot, "ada@example.com"),
      demote(robot, email),
      group.call("POST", "/v1/agents/robot-owner/role", { token: owner, body }),
      group.call("DELETE", "/v1/agents/robot-owner", { token: ada }),
      group.call("POST", "/v1/agents/robot-owner/delete", { token: owner }),
    ]);
    expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
    const left: string[] = [];
    for (const token of [owner, ada, String(robot)]) {
      const { status, body: me } = await group.call("GET", "/v1/auth/me", { token });
      if (status === 200 && me.role === "owner") left.push(token);
    }
    expect(left).toHaveLength(1);
    // The others come back, so that the tests below have their owner.
    const [kept = ""] = left;
    if (kept !== owner) {
      await group.expect(200, "POST", `/v1/admin/users/${email}/role`, { token: kept, body: { role: "owner" } });
    }
  });

  it("give a name of a vault once, whether it is made or changed to it", async () => {
    await made("POST", "/v1/vaults", { name: "old-one" });
    await made("POST", "/v1/vaults", { name: "old-two" });
    const body = { name: "wanted" };
    const answers = await Promise.all([
      ...Array.from({ length: many }, () => asOwner("POST", "/v1/vaults", body)),
      asOwner("POST", "/v1/vaults/old-one/rename", body),
      asOwner("POST", "/v1/vaults/old-two/rename", body),
    ]);
    expect(answers.filter(({ status }) => status < 300)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(many + 1);
    const { vaults } = (await asOwner("GET", "/v1/vaults")).body as { vaults: { name: string }[] };
    expect(vaults.filter(({ name }) => name === "wanted")).toHaveLength(1);
  });

  it("give a name of an agent once, and one of each invitation its agent", async () => {
    expect(tally(await group.atOnce(many, () => asOwner("POST", "/v1/agents", { name: "wanted" })))).toEqual({
      201: 1,
      409: many - 1,
    });
    const { token } = await made("POST", "/v1/agent-invites", { name: "invited" });
    const redeemed = await group.atOnce(many, () => group.call("POST", `/invite/${token}`, { body: {} }));
    expect(redeemed.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(redeemed.filter(({ status }) => status === 410 || status === 409)).toHaveLength(many - 1);
  });

  it("accept an invitation once, and do not end it and accept it both", async () => {
    for (const round of [1, 2, 3]) {
      const email = `invited-${round}@example.com`;
      const invite = await made("POST", "/v1/users/invites", { email });
      const path = `/v1/users/invites/${String(invite.invite_link).split("/invite/")[1]}`;
      const answers = await Promise.all([
        ...Array.from({ length: 3 }, () => group.call("POST", `${path}/accept`, { body: { password } })),
        asOwner("DELETE", path),
        asOwner("POST", `${path}/reinvite`, {}),
      ]);
      expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
      const accepted = answers.slice(0, 3).filter(({ status }) => status === 200).length;
      const ended = answers.slice(3).filter(({ status }) => status < 300).length;
      expect([round, accepted + ended]).toEqual([round, 1]);
    }
  });

  it("decide a proposal once, and lose none that is decided at the same time", async () => {
    const { token } = await group.expect(200, "POST", "/v1/sessions", { token: owner, body: { vault: "default" } });
    const propose = (name: string) =>
      group.expect(201, "POST", "/v1/proposals", {
        token: String(token),
        body: { services: [{ action: "set", ...service(name) }] },
      });
    const decide = (id: unknown, how: "approve" | "reject") =>
      asOwner("POST", `/v1/admin/proposals/${id}/${how}`, { vault: "default" });
    for (const round of [1, 2, 3]) {
      const { id } = await propose(`decided-${round}`);
      const answers = await Promise.all([
        decide(id, "approve"),
        decide(id, "reject"),
        decide(id, "approve"),
        decide(id, "reject"),
        group.call("POST", "/v1/proposals", {
          token: String(token),
          body: { services: [{ action: "set", ...service(`next-${round}`) }], supersedes: id },
        }),
      ]);
      expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
      expect([round, answers.filter(({ status }) => status < 300)]).toMatchObject([round, [{}]]);
      const { body } = await asOwner("GET", `/v1/admin/proposals/${id}?vault=default`);
      const outcome = answers.findIndex(({ status }) => status < 300);
      const statuses = ["applied", "rejected", "applied", "rejected", "expired"];
      expect(body.status).toBe(statuses[outcome]);
      expect((await serviceNames("default")).includes(`decided-${round}`)).toBe(body.status === "applied");
    }
    const ids = [];
    for (const index of [1, 2, 3, 4]) ids.push((await propose(`together-${index}`)).id);
    const approved = await Promise.all(ids.map((id) => decide(id, "approve")));
    const names = await serviceNames("default");
    const applied = ids
      .map((_, index) => `together-${index + 1}`)
      .filter((_, index) => approved[index]?.status === 200);
    expect(applied.length).toBeGreaterThan(0);
    expect(names).toEqual(expect.arrayContaining(applied));
  });

  it("replace a list of services once from one state of it, and add to it without loss", async () => {
    await made("POST", "/v1/vaults", { name: "listed" });
    const path = "/v1/vaults/listed/services";
    for (const round of [1, 2, 3]) {
      const etag = (await asOwner("GET", path)).headers.get("etag") ?? "";
      const answers = await group.atOnce(many, (index) =>
        group.call("PUT", path, {
          token: owner,
          body: { services: [service(`by-${round}-${index}`)] },
          headers: { "if-match": etag },
        }),
      );
      expect(tally(answers)).toEqual({ 200: 1, 412: many - 1 });
      const winner = answers.findIndex(({ status }) => status === 200);
      expect(await serviceNames("listed")).toEqual([`by-${round}-${winner}`]);
    }
    const added = await group.atOnce(many, (index) => asOwner("POST", path, { services: [service(`also-${index}`)] }));
    expect(added.filter(({ status }) => status >= 300)).toEqual([]);
    expect(await serviceNames("listed")).toHaveLength(1 + many);
  });

  it("number the versions of a credential one after the other, restored ones too", async () => {
    const set = (value: string) =>
      asOwner("POST", "/v1/credentials", { vault: "default", credentials: { RACED: value } });
    await set("first");
    const path = "/v1/credentials/RACED";
    const answers = await group.atOnce(many, (index) =>
      index % 2 === 0
        ? asOwner("POST", `${path}/restore?vault=default`, { vault: "default", version: 1 })
        : set(`value-${index}`),
    );
    expect(answers.filter(({ status }) => status >= 300)).toEqual([]);
    const { body } = await asOwner("GET", `${path}/versions?vault=default`);
    const versions = body.versions as { version: number; current: boolean }[];
    expect(versions.map(({ version }) => version)).toEqual(Array.from({ length: 1 + many }, (_, at) => 1 + many - at));
  });

  it("leave an agent that is given a new token many times with the last one alone", async () => {
    await made("POST", "/v1/agents", { name: "rotated" });
    const answers = await group.atOnce(many, () => asOwner("POST", "/v1/agents/rotated/rotate"));
    expect(tally(answers)).toEqual({ 200: many });
    // Another server may hold a token in memory for a moment.
    const live = async () => {
      const tried = await Promise.all(
        answers.map(({ body }) => group.call("GET", "/v1/auth/me", { token: String(body.av_agent_token) })),
      );
      return tried.filter(({ status }) => status === 200).length;
    };
    await expect.poll(live, { timeout: 5_000 }).toBe(1);
    expect((await asOwner("GET", "/v1/agents/rotated")).body.active_tokens).toBe(1);
  });

  it("leave a whole audit log, also when the servers are started again in between", async () => {
    const busy = () =>
      group.atOnce(
        24,
        (index): Promise<ApiAnswer> =>
          asOwner("POST", "/v1/credentials", {
            vault: "default",
            credentials: { [`AUDITED_${index % 3}`]: `${index}` },
          }),
      );
    await busy();
    await group.restart();
    await busy();
    const [server] = group.servers;
    if (server === undefined) throw new Error("no server");
    const exported = await fetch(`${server.apiUrl}/v1/audit/export`, { headers: { authorization: `Bearer ${owner}` } });
    const file = join(server.home, "audit.ndjson");
    await writeFile(file, await exported.text());
    const verified = await server.run(["audit", "verify", "--file", file]);
    expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining("whole")]);
  });
});
