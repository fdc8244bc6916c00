/** Writers of all kinds at once: none waits for another in a circle, none is lost, and the chain holds. */
import { expect, it } from "vitest";
import { verifyDatabase } from "../../src/domain/audit/verify.ts";
import { ApiServer, describeOnEachEngine } from "../support/api-server.ts";

const rounds = 6;

describeOnEachEngine("the audit log under writers of all kinds at once", (openScratch) => {
  it("has an entry for each change that was answered as made, and no other", async () => {
    await using database = await openScratch();
    await using api = await ApiServer.start(database);
    const owner = await api.registerOwner();
    const person = await api.addUser("person@example.com");
    await api.addVault(owner, "busy");
    await api.addAgent(owner, "robot");
    await api.domain.checkpoints.publicKey();
    const before = (await verifyDatabase(database)).lastId;
    const auth = { type: "passthrough" };
    const call = (method: string, path: string, body: object, token = owner) => api.call(method, path, { token, body });
    const writes = Array.from({ length: rounds }, (_, n) => [
      call("POST", "/v1/vaults/busy/services", { services: [{ name: `svc-${n}`, host: `h${n}.example.com`, auth }] }),
      call("PATCH", "/v1/vaults/busy/settings", { unmatched_host_policy: n % 2 ? "deny" : "passthrough" }),
      call("POST", "/v1/credentials", { vault: "busy", credentials: { ONE: `${n}`, OTHER: `${n}` } }),
      call("POST", "/v1/vaults/busy/users", { email: "person@example.com" }),
      call("DELETE", "/v1/vaults/busy/users/person@example.com", {}),
      call("POST", "/v1/vaults/busy/agents", { name: "robot" }),
      call("POST", "/v1/agents/robot/rotate", {}),
      call("POST", "/v1/agents", { name: `agent-${n}`, vaults: [{ vault_name: "busy" }] }),
      call("POST", "/v1/sessions", { vault: "busy" }),
      call("POST", "/v1/users/invites", { email: `p${n}@example.com`, vaults: [{ vault_name: "busy" }] }),
      call("PUT", "/v1/admin/settings", { invite_only: n % 2 === 0 }),
      call("POST", "/v1/vaults", { name: `vault-${n}` }, person),
      api.domain.checkpoints.sign().then((problem) => ({ status: problem === undefined ? 200 : 599, text: "" })),
    ]).flat();
    const answers = await Promise.all(writes);
    expect(answers.filter(({ status }) => status >= 500).map(({ text }) => text)).toEqual([]);

    const made = (index: number) =>
      answers.filter(({ status }, at) => at % (writes.length / rounds) === index && status < 300).length;
    const counts = await database.db
      .selectFrom("audit_log")
      .select(["action", (row) => row.fn.countAll<number>().as("count")])
      .where("id", ">", before)
      .groupBy("action")
      .execute();
    expect(Object.fromEntries(counts.map(({ action, count }) => [action, Number(count)]))).toEqual({
      "service.set": made(0),
      "vault.set_policy": made(1),
      "credential.set": made(2) * 2,
      "member.add": made(3) + made(5) + made(7),
      ...(made(4) > 0 && { "member.remove": made(4) }),
      "agent.rotate": made(6),
      "agent.create": made(7),
      "token.mint": made(8),
      "invite.create": made(9),
      "settings.change": made(10),
      "vault.create": made(11),
    });
    expect([0, 1, 2, 6, 7, 8, 9, 10, 11].map(made)).toEqual(Array(9).fill(rounds));
    expect(await api.domain.checkpoints.sign()).toBeUndefined();
    const verdict = await verifyDatabase(database);
    expect(verdict).toMatchObject({ problem: undefined, signedId: verdict.lastId });
  });
});
