import { beforeEach, expect, it } from "vitest";
import { Keyring } from "../../../src/crypto/keyring.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import type {
  AgentPrincipal,
  Principal,
  ScopedPrincipal,
  UserPrincipal,
} from "../../../src/domain/actors/principal.ts";
import { Domain } from "../../../src/domain/domain.ts";
import { AppError } from "../../../src/errors.ts";
import { silentLogger } from "../../../src/log.ts";
import { Changes } from "../../../src/storage/changes.ts";
import type { Database } from "../../../src/storage/database.ts";
import { MemoryEphemeral } from "../../../src/storage/ephemeral-memory.ts";
import { ManualClock } from "../../support/api-server.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { closedOutbound, defaultVaultId } from "../../support/vault-world.ts";

const day = 86_400_000;
const vault = { id: defaultVaultId, name: "default" };
const agent: AgentPrincipal = {
  kind: "agent",
  id: crypto.randomUUID(),
  name: "ag",
  role: "no-access",
  sessionId: "s-agent",
  clientIp: "127.0.0.1",
};
/** As it arrives at the API. */
interface Asked {
  readonly services?: readonly object[];
  readonly credentials?: readonly object[];
  readonly message?: string;
  readonly supersedes?: number;
}

const person: UserPrincipal = {
  kind: "user",
  id: crypto.randomUUID(),
  email: "p@example.com",
  role: "owner",
  sessionId: "s-p",
  clientIp: "127.0.0.1",
};
const token = (sessionId: string): ScopedPrincipal => ({
  kind: "scoped",
  vaultId: defaultVaultId,
  vaultRole: "proxy",
  sessionId,
  clientIp: "127.0.0.1",
  createdBy: { type: "user", id: person.id },
});
const github = { action: "set", name: "github", host: "api.github.com", auth: { type: "bearer", token: "TOK" } };

describeEachDatabase("proposals", (open, engine) => {
  let database: Database;
  let keyring: Keyring;
  let clock: ManualClock;
  let domain: Domain;

  beforeEach(async () => {
    database = await open();
    keyring = await Keyring.open([{ number: 1, raw: crypto.getRandomValues(new Uint8Array(32)) }]);
    clock = new ManualClock();
    domain = start(database);
  });

  /** One process over a database. */
  function start(over: Database, changes = new Changes(over, silentLogger)): Domain {
    return new Domain({
      ephemeral: new MemoryEphemeral(),
      database: over,
      changes,
      keyring,
      clock,
      log: silentLogger,
      outbound: closedOutbound(),
      baseUrl: "https://vault.example.com",
      limits: { profile: "off", isLocked: false, knobs: {} },
      allowsInternalNames: false,
      output: () => undefined,
    });
  }

  /** A second process; on SQLite the same one, because there two in one thread would wait for each other's lock. */
  const second = async () => (engine === "sqlite" ? domain : start(await open({ shared: true })));

  const propose = (asked: Asked, principal: Principal = agent, through = domain) =>
    through.proposals.create(principal, vault, {
      services: asked.services ?? [],
      slots: asked.credentials ?? [],
      message: asked.message ?? "",
      userMessage: "",
      supersedes: asked.supersedes,
    });
  const values = (given: Record<string, string> = {}) =>
    new Map(Object.entries(given).map(([key, value]) => [key, new Secret(value)]));
  const approve = (number: number, given: object = {}, through = domain) =>
    through.reviews.approve(person, vault, number, { values: values(), ...given });
  const outcomeOf = async (work: Promise<unknown>) =>
    work.then(
      () => "done",
      (error: unknown) => (error instanceof AppError ? error.code : String(error)),
    );
  const heldValues = () => database.db.selectFrom("proposal_credentials").selectAll().execute();
  const secretOf = async (key: string) => (await domain.credentials.reveal(person, vault.id, key))[0]?.value?.reveal();
  const servicesNow = async () => (await domain.services.list(vault.id)).map(({ name }) => name);

  it("are numbered one by one, also when many come at once", async () => {
    const other = await second();
    const made = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        propose({ credentials: [{ action: "set", key: `K${i}` }] }, agent, i % 2 === 0 ? domain : other),
      ),
    );
    expect(made.map(({ number }) => number).sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  });

  it("never wait more than twenty at once, however many come at the same moment", async () => {
    const other = await second();
    const outcomes = await Promise.all(
      Array.from({ length: 26 }, (_, i) =>
        outcomeOf(propose({ credentials: [{ action: "set", key: `K${i}` }] }, agent, i % 2 === 0 ? domain : other)),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === "done")).toHaveLength(20);
    expect(outcomes.filter((outcome) => outcome === "too_many_proposals")).toHaveLength(6);
    expect(await domain.proposals.list(vault.id, { status: "pending" })).toHaveLength(20);
  });

  it("are approved once, by whichever of several reviewers in two processes comes first", async () => {
    const other = await second();
    await propose({ services: [github], credentials: [{ action: "set", key: "TOK" }] });
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        outcomeOf(approve(1, { values: values({ TOK: `by-${i}` }) }, i % 2 === 0 ? domain : other)),
      ),
    );
    const winner = outcomes.indexOf("done");
    expect(outcomes.filter((outcome) => outcome === "proposal_ended")).toHaveLength(7);
    expect(await secretOf("TOK")).toBe(`by-${winner}`);
    expect(await servicesNow()).toEqual(["github"]);
  });

  it("are either applied or rejected when both happen at once, and what is stored agrees with it", async () => {
    const other = await second();
    for (let round = 1; round <= 6; round++) {
      await propose({ credentials: [{ action: "set", key: `K${round}`, value: "v" }] });
      const outcomes = await Promise.all([
        outcomeOf(approve(round)),
        outcomeOf(other.reviews.reject(person, vault, round, "no")),
        outcomeOf(approve(round, {}, other)),
      ]);
      expect(outcomes.filter((outcome) => outcome === "done")).toHaveLength(1);
      const { status } = (await domain.proposals.find(vault.id, round)) ?? {};
      expect(status).toBe(outcomes[1] === "done" ? "rejected" : "applied");
      expect(await outcomeOf(secretOf(`K${round}`))).toBe(status === "applied" ? "done" : "credential_not_found");
    }
    expect(await heldValues()).toEqual([]);
  });

  it("lose no service of another proposal that is approved at the same moment", async () => {
    const other = await second();
    for (let i = 1; i <= 6; i++) {
      await propose({
        services: [{ ...github, name: `svc-${i}`, host: `h${i}.example.com`, auth: { type: "passthrough" } }],
      });
    }
    await Promise.all([1, 2, 3, 4, 5, 6].map((number) => approve(number, {}, number % 2 === 0 ? domain : other)));
    expect((await servicesNow()).sort()).toEqual(["svc-1", "svc-2", "svc-3", "svc-4", "svc-5", "svc-6"]);
    const positions = await database.db.selectFrom("services").select("position").execute();
    expect(new Set(positions.map(({ position }) => position)).size).toBe(6);
  });

  it("keep the values that agents supply sealed, bound to their proposal, and drop them with any end", async () => {
    const slot = { action: "set", key: "TOK", value: "sk_live_agent" };
    for (let i = 0; i < 4; i++) await propose({ credentials: [slot] });
    const held = await heldValues();
    expect(held).toHaveLength(4);
    expect(held.map(({ value_sealed }) => Buffer.from(value_sealed).toString("latin1")).join()).not.toContain(
      "sk_live",
    );
    const rows = JSON.stringify(await database.db.selectFrom("proposals").selectAll().execute());
    expect(rows).not.toContain("sk_live");

    await approve(1);
    expect(await secretOf("TOK")).toBe("sk_live_agent");
    await domain.reviews.reject(person, vault, 2, "");
    await propose({ credentials: [slot], supersedes: 3 });
    clock.advance(8 * day);
    await domain.reviews.expireOverdue();
    expect(await heldValues()).toEqual([]);
  });

  it("do not open a value that was moved to another proposal in the database", async () => {
    await propose({ credentials: [{ action: "set", key: "TOK", value: "cheap" }] });
    await propose({ credentials: [{ action: "set", key: "TOK", value: "dear" }] });
    const [one, two] = await database.db.selectFrom("proposals").select("id").orderBy("number").execute();
    await database.db
      .deleteFrom("proposal_credentials")
      .where("proposal_id", "=", one?.id ?? "")
      .execute();
    await database.db
      .updateTable("proposal_credentials")
      .set({ proposal_id: one?.id ?? "" })
      .where("proposal_id", "=", two?.id ?? "")
      .execute();
    expect(await outcomeOf(approve(1))).toBe("seal_broken");
    expect((await domain.proposals.find(vault.id, 1))?.status).toBe("pending");
  });

  it("change nothing at all when one part cannot be applied", async () => {
    await propose({
      services: [
        { ...github, auth: { type: "passthrough" } },
        { action: "set", name: "fresh", host: "f.example.com", enabled: true },
      ],
    });
    expect(await outcomeOf(approve(1))).toBe("proposal_outdated");
    expect(await servicesNow()).toEqual([]);
    expect((await domain.proposals.find(vault.id, 1))?.status).toBe("pending");
  });

  it("are applied item by item where the reviewer chooses, and say what was left out", async () => {
    await propose({
      services: [github, { ...github, name: "gitlab", host: "gitlab.com", auth: { type: "bearer", token: "LAB" } }],
      credentials: [
        { action: "set", key: "TOK", value: "one" },
        { action: "set", key: "LAB", value: "two" },
      ],
    });
    const choice = (services: string[], credentials: string[]) => ({ only: { services, credentials } });
    expect(await outcomeOf(approve(1, choice([], [])))).toBe("invalid_selection");
    expect(await outcomeOf(approve(1, choice(["nobody"], [])))).toBe("invalid_selection");
    expect(await outcomeOf(approve(1, choice(["github"], [])))).toBe("proposal_outdated");
    await approve(1, choice(["github"], ["TOK"]));
    expect(await servicesNow()).toEqual(["github"]);
    expect(await outcomeOf(secretOf("LAB"))).toBe("credential_not_found");
    expect(await domain.proposals.find(vault.id, 1)).toMatchObject({
      status: "applied",
      declined: { services: ["gitlab"], credentials: ["LAB"] },
      reviewer: { type: "user", id: person.id },
    });
  });

  it("are not applied to a vault that the reviewer has not seen", async () => {
    await propose({ services: [{ ...github, auth: { type: "passthrough" } }] });
    const proposal = await domain.proposals.find(vault.id, 1);
    if (!proposal) throw new Error("it is gone");
    const { vaultVersion } = await domain.proposals.outlook(proposal);
    await domain.services.upsert(person, vault.id, [
      { name: "other", host: "o.example.com", auth: { type: "passthrough" } },
    ]);
    expect(await outcomeOf(approve(1, { vaultVersion }))).toBe("vault_changed");
    await approve(1, { vaultVersion: vaultVersion + 1 });
    expect(await servicesNow()).toEqual(["other", "github"]);
  });

  it("are not applied once a credential that they build on is gone", async () => {
    await domain.credentials.set(person, vault.id, values({ TOK: "v" }));
    await propose({ services: [github] });
    await domain.credentials.delete(person, vault.id, ["TOK"]);
    expect(await outcomeOf(approve(1))).toBe("proposal_outdated");
    expect(await servicesNow()).toEqual([]);
  });

  it("end after seven days for everybody, whether or not the sweep has come by", async () => {
    await propose({ credentials: [{ action: "set", key: "TOK", value: "v" }] });
    clock.advance(7 * day);
    expect((await domain.proposals.find(vault.id, 1))?.status).toBe("expired");
    expect(await domain.proposals.list(vault.id, { status: "pending" })).toEqual([]);
    expect(await domain.proposals.list(vault.id, { status: "expired" })).toHaveLength(1);
    expect(await outcomeOf(approve(1))).toBe("proposal_ended");
    expect(await outcomeOf(domain.reviews.reject(person, vault, 1, ""))).toBe("proposal_ended");
    await domain.reviews.expireOverdue();
    const row = await database.db.selectFrom("proposals").select(["status", "reviewed_at"]).executeTakeFirstOrThrow();
    expect(row).toEqual({ status: "expired", reviewed_at: null });
  });

  it("are superseded by the one who made them only", async () => {
    const body = { credentials: [{ action: "set", key: "TOK" }] };
    await propose(body, token("s-1"));
    expect(await outcomeOf(propose({ ...body, supersedes: 1 }, agent))).toBe("proposal_not_found");
    expect(await outcomeOf(propose({ ...body, supersedes: 1 }, token("s-2")))).toBe("proposal_not_found");
    expect(await outcomeOf(propose({ ...body, supersedes: 9 }, token("s-1")))).toBe("proposal_not_found");
    const { number } = await propose({ ...body, supersedes: 1 }, token("s-1"));
    expect(await domain.proposals.find(vault.id, 1)).toMatchObject({ status: "expired", supersededBy: number });
    expect(await outcomeOf(propose({ ...body, supersedes: 1 }, token("s-1")))).toBe("proposal_ended");
  });

  it("do not make room for each other without end: each is a mail to everybody", async () => {
    const body = { credentials: [{ action: "set", key: "TOK" }] };
    const first = await propose(body);
    for (let number = first.number; number <= 20; number++) await propose({ ...body, supersedes: number });
    expect(await outcomeOf(propose({ ...body, supersedes: 21 }))).toBe("too_many_proposals");
    expect((await domain.proposals.find(vault.id, 21))?.status).toBe("pending");
    clock.advance(3_600_001);
    expect(await outcomeOf(propose({ ...body, supersedes: 21 }))).toBe("done");
  });

  it("are granted by nobody to themselves, not through a token of an agent either", async () => {
    const body = { credentials: [{ action: "set", key: "TOK", value: "v" }] };
    const minted: ScopedPrincipal = { ...token("s-minted"), createdBy: { type: "agent", id: agent.id } };
    await propose(body, minted);
    const decide = (reviewer: Principal) => domain.reviews.approve(reviewer, vault, 1, { values: values() });
    expect(await outcomeOf(decide(agent))).toBe("own_proposal");
    expect(await outcomeOf(decide({ ...minted, vaultRole: "admin" }))).toBe("own_proposal");
    expect(await outcomeOf(decide({ ...minted, vaultRole: "admin", sessionId: "another" }))).toBe("own_proposal");
    expect(await outcomeOf(decide(person))).toBe("done");
  });

  it("let a person decide what a token of theirs asks for", async () => {
    await propose({ credentials: [{ action: "set", key: "TOK", value: "v" }] }, token("s-1"));
    expect(
      await outcomeOf(domain.reviews.approve({ ...token("s-1"), vaultRole: "admin" }, vault, 1, { values: values() })),
    ).toBe("own_proposal");
    expect(await outcomeOf(approve(1))).toBe("done");
  });

  it("connect an OAuth credential anew when its token address changes, and keep it otherwise", async () => {
    const oauth = (token_url: string) => ({
      credentials: [{ action: "set", key: "OA", type: "oauth", oauth: { token_url, client_id: "c" } }],
    });
    await propose(oauth("https://idp.example.com/t"));
    await approve(1);
    const stored = () =>
      database.db
        .selectFrom("credential_oauth")
        .innerJoin("credentials", "credentials.id", "credential_oauth.credential_id")
        .select(["type", "token_url", "refresh_token_sealed", "value_sealed"])
        .executeTakeFirstOrThrow();
    expect(await stored()).toMatchObject({ type: "oauth", token_url: "https://idp.example.com/t", value_sealed: null });
    await database.db
      .updateTable("credential_oauth")
      .set({ refresh_token_sealed: new Uint8Array([1]) })
      .execute();
    await propose(oauth("https://idp.example.com/t"));
    await approve(2);
    expect((await stored()).refresh_token_sealed).toEqual(new Uint8Array([1]));
    await propose(oauth("https://evil.example.com/t"));
    await approve(3);
    expect(await stored()).toMatchObject({ token_url: "https://evil.example.com/t", refresh_token_sealed: null });
  });

  it("go with their vault", async () => {
    await propose({ credentials: [{ action: "set", key: "TOK", value: "v" }] });
    await domain.vaults.delete(person, vault.id);
    expect(await heldValues()).toEqual([]);
    expect(await outcomeOf(propose({ credentials: [{ action: "set", key: "TOK" }] }))).toBe("vault_not_found");
  });

  it("wake whoever waits for them, with one read for all, and in another process too", async () => {
    const shared = await open({ shared: true });
    const otherChanges = new Changes(shared, silentLogger);
    const other = start(shared, otherChanges);
    await otherChanges.poll();
    await propose({ credentials: [{ action: "set", key: "TOK", value: "v" }] });
    const { signal } = new AbortController();
    const wait = (caller: string) =>
      domain.proposalWaiting.untilEnded({ vaultId: vault.id, number: 1, caller, timeoutMs: 60_000, signal });
    let reads = 0;
    const find = domain.proposals.find.bind(domain.proposals);
    domain.proposals.find = (...asked) => {
      reads += 1;
      return find(...asked);
    };
    const waiting = Array.from({ length: 20 }, (_, i) => wait(`caller-${i}`));
    const elsewhere = other.proposalWaiting.untilEnded({
      vaultId: vault.id,
      number: 1,
      caller: "c",
      timeoutMs: 60_000,
      signal,
    });
    await expect.poll(() => domain.proposalWaiting.count + other.proposalWaiting.count).toBe(21);
    await domain.reviews.reject(person, vault, 1, "no");
    for (const proposal of await Promise.all(waiting)) expect(proposal?.status).toBe("rejected");
    expect(reads).toBeLessThanOrEqual(2);
    // What a running server does once a second.
    await otherChanges.poll();
    expect((await elsewhere)?.status).toBe("rejected");
    expect(domain.proposalWaiting.count).toBe(0);
  });

  it("let nobody hold more than a few places to wait, and give them back", async () => {
    await propose({ credentials: [{ action: "set", key: "TOK", value: "v" }] });
    const gone = new AbortController();
    const wait = () =>
      domain.proposalWaiting.untilEnded({
        ...{ vaultId: vault.id, number: 1, caller: "one", timeoutMs: 60_000 },
        signal: gone.signal,
      });
    const waiting = Array.from({ length: 16 }, wait);
    expect(await outcomeOf(wait())).toBe("too_many_waiting");
    gone.abort();
    await Promise.all(waiting);
    expect(domain.proposalWaiting.count).toBe(0);
  });
});
