import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";
import { EventReader } from "../support/event-stream.ts";
import { journalEntry } from "../support/journal-entry.ts";

describeOnEachEngine("the request log over HTTP", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let owner = "";
  let member = "";
  let stranger = "";
  let vaults = 0;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    owner = await api.registerOwner();
    member = await api.addUser("member@example.com");
    stranger = await api.addUser("stranger@example.com");
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  /** A vault of its own for each test, administered by `member`. */
  async function newVault(): Promise<{ readonly name: string; readonly id: string; readonly url: string }> {
    vaults += 1;
    const name = `vault-${vaults}`;
    return { name, id: await api.addVault(member, name), url: `/v1/vaults/${name}/logs` };
  }

  function record(vaultId: string, ...changes: Partial<Parameters<typeof journalEntry>[0]>[]): Promise<void> {
    for (const change of changes) api.domain.journal.record(journalEntry({ vaultId, ...change }));
    return api.domain.journal.flush();
  }

  const tail = (path: string, token = member, headers: Record<string, string> = {}) =>
    EventReader.open(`http://127.0.0.1:${api.port}${path}`, { authorization: `Bearer ${token}`, ...headers });

  async function paths(url: string, query = ""): Promise<readonly string[]> {
    const { logs } = await api.expect(200, "GET", `${url}${query}`, { token: member });
    return (logs as { path: string }[]).map(({ path }) => path);
  }

  it("tells where the time went, and nothing that did not happen", async () => {
    const { id, url } = await newVault();
    const dial = { dnsMs: 1.4, connectMs: 2.6, tlsMs: 0, address: "192.0.2.1" };
    await record(
      id,
      { path: "/cold", details: { dial, queueMs: 30.2 } },
      { path: "/warm", protocol: "http/1.0" },
      { path: "/died", upstreamMs: null, status: 502, details: { isUnanswered: true, isRetried: true } },
      { path: "/refused", upstreamMs: null, status: 403, errorCode: "no_match", matchedService: "" },
    );
    const stored = await database.db.selectFrom("request_entries").select("flags").where("vault_id", "=", id).execute();
    expect(stored.filter(({ flags }) => flags !== null)).toHaveLength(2);
    const { logs } = await api.expect(200, "GET", url, { token: member });
    const told = (logs as Record<string, unknown>[]).map((row) => [
      row.path,
      row.protocol,
      row.queue_ms,
      [row.dns_ms, row.connect_ms, row.tls_ms],
      row.upstream_reused,
      row.upstream_address,
      row.retried,
    ]);
    expect(told).toEqual([
      ["/refused", "http/1.1", 0, [null, null, null], null, null, undefined],
      ["/died", "http/1.1", 0, [0, 0, 0], true, null, true],
      ["/warm", "http/1.0", 0, [0, 0, 0], true, null, undefined],
      ["/cold", "http/1.1", 30, [1, 3, 0], false, "192.0.2.1", undefined],
    ]);
    const csv = await api.call("GET", `${url}/export?format=csv`, { token: member });
    const [head = "", cold = ""] = csv.text.split("\r\n");
    const cells = Object.fromEntries(head.split(",").map((title, at) => [title, cold.split(",")[at]]));
    expect(cells).toMatchObject({ protocol: "http/1.1", queue_ms: "30", dns_ms: "1", upstream_address: "192.0.2.1" });
  });

  it("shows tunnels that have ended only to who asks for them", async () => {
    const { id, url } = await newVault();
    const tunnel = { method: "CONNECT", path: "", ingress: "tunnel", matchedService: "" } as const;
    await record(id, { path: "/1" }, tunnel, { path: "/2" }, { ...tunnel, errorCode: "revoked" });
    expect(await paths(url)).toEqual(["/2", "/1"]);
    expect(await paths(url, "?after=1")).not.toContain("");
    const { logs } = await api.expect(200, "GET", `${url}?ingress=tunnel`, { token: member });
    expect(logs).toMatchObject([
      { ingress: "tunnel", method: "CONNECT", error_code: "revoked" },
      { ingress: "tunnel", method: "CONNECT", error_code: "" },
    ]);
    const all = await api.call("GET", `${url}/export?format=ndjson`, { token: member });
    expect(all.text.trim().split("\n")).toHaveLength(2);
  });

  it("counts no host for a token that was refused", async () => {
    const { id, name } = await newVault();
    const unserved = { matchedService: "", status: 403 };
    await record(
      id,
      { ...unserved, host: "wanted.example:443", errorCode: "no_match" },
      { ...unserved, host: "stranger.example:443", errorCode: "forbidden" },
      { ...unserved, host: "gone.example:443", errorCode: "grant_revoked" },
    );
    const hosts = await database.db.selectFrom("discovered_hosts").select("host").where("vault_id", "=", id).execute();
    expect(hosts, name).toEqual([{ host: "wanted.example" }]);
  });

  it("is filtered by method, host, actor, session, code, request and time", async () => {
    const { id, url, name } = await newVault();
    await api.addAgent(member, `bot-${name}`, { vaults: [{ vault_name: name }] });
    const { id: agentId } = await database.db
      .selectFrom("agents")
      .select("id")
      .where("name", "=", `bot-${name}`)
      .executeTakeFirstOrThrow();
    const at = (hour: number) => Date.parse(`2026-01-31T${hour}:00:00Z`);
    await record(
      id,
      { path: "/1", method: "POST", startedAtMs: at(10) },
      { path: "/2", host: "api.github.com:8443", startedAtMs: at(11) },
      { path: "/3", host: "api.github.comedy:443", actorType: "agent", actorId: agentId, startedAtMs: at(12) },
      { path: "/4", sessionId: "s9", requestId: `q-${name}`, errorCode: "no_match", status: 403, startedAtMs: at(13) },
    );
    const table: readonly [string, readonly string[]][] = [
      ["?method=POST", ["/1"]],
      ["?method=post", []],
      ["?host=api.github.com", ["/4", "/2", "/1"]],
      ["?host=API.github.com:8443", ["/2"]],
      ["?host=api.github.%25", []],
      [`?actor=${agentId}`, ["/3"]],
      [`?actor=bot-${name}`, ["/3"]],
      ["?actor=nobody", []],
      ["?session=s9", ["/4"]],
      ["?error_code=no_match", ["/4"]],
      [`?request_id=q-${name}`, ["/4"]],
      ["?since=2026-01-31T12:00:00Z", ["/4", "/3"]],
      ["?since=2026-01-31T11:00:00%2B01:00&until=2026-01-31T12:00:00.000Z", ["/2", "/1"]],
      ["?service=&method=&host=&since=", ["/4", "/3", "/2", "/1"]],
    ];
    for (const [query, expected] of table) expect(await paths(url, query), query).toEqual(expected);
    const refused = await api.call("GET", `${url}?since=yesterday`, { token: member });
    expect(refused).toMatchObject({ status: 400, body: { code: "invalid_time" } });
  });

  it("takes cursors that nobody gave out for what they are: numbers", async () => {
    const { id, url } = await newVault();
    const other = await newVault();
    await record(id, { path: "/1" }, { path: "/2" });
    await record(other.id, { path: "/foreign" });
    const max = "9223372036854775807";
    const table: readonly [string, readonly string[]][] = [
      [`?before=${max}`, ["/2", "/1"]],
      ["?before=99999999999999999999999", ["/2", "/1"]],
      ["?before=-1", ["/2", "/1"]],
      ["?before=1%20or%201=1", ["/2", "/1"]],
      ["?before=1e3", ["/2", "/1"]],
      [`?after=${max}`, []],
      ["?after=0", ["/2", "/1"]],
      ["?cursor=eyJpZCI6MX0", ["/2", "/1"]],
      ["?limit=0", ["/2", "/1"]],
      ["?limit=1", ["/2"]],
      [`?limit=${max}`, ["/2", "/1"]],
      ["?limit=-5", ["/2", "/1"]],
    ];
    for (const [query, expected] of table) expect(await paths(url, query), query).toEqual(expected);
  });

  it("finds the few rows that a filter wants among many", async () => {
    const { id, url } = await newVault();
    const many = Array.from({ length: 11_000 }, (_, index) => ({
      path: `/${index}`,
      ...(index % 5_000 === 7 && { method: "PUT" }),
    }));
    await record(id, ...many);
    expect(await paths(url, "?method=PUT")).toEqual(["/10007", "/5007", "/7"]);
    const first = await api.expect(200, "GET", `${url}?method=PUT&limit=2`, { token: member });
    expect(await paths(url, `?method=PUT&limit=2&before=${first.next_cursor}`)).toEqual(["/7"]);
    const oldest = Number((first.logs as { id: number }[])[1]?.id) - 4_000;
    expect(await paths(url, `?method=PUT&after=${oldest}`)).toEqual(["/10007", "/5007"]);
    expect(await paths(url, "?method=DELETE")).toEqual([]);
  });

  describe("followed", () => {
    it("shows rows as they are written, each with where to go on", async () => {
      const { id, url } = await newVault();
      await record(id, { path: "/before" });
      await using reader = await tail(`${url}/tail`);
      expect(reader.response.headers.get("content-type")).toBe("text/event-stream");
      await expect.poll(() => reader.events.length).toBe(1);
      await record(id, { path: "/1" }, { path: "/2" });
      await expect.poll(() => reader.paths).toEqual(["/1", "/2"]);
      await record(id, { path: "/3" });
      await expect.poll(() => reader.paths).toEqual(["/1", "/2", "/3"]);
      const { logs } = await api.expect(200, "GET", `${url}?limit=3`, { token: member });
      expect(reader.rows).toEqual([...(logs as object[])].reverse());
      expect(reader.events.slice(1).map((event) => event.id)).toEqual(reader.rows.map((row) => String(row.id)));
    });

    it("goes on behind the last row that the reader had", async () => {
      const { id, url } = await newVault();
      await record(id, ...Array.from({ length: 450 }, (_, index) => ({ path: `/${index}` })));
      const { logs } = await api.expect(200, "GET", `${url}?limit=1`, { token: member });
      const newest = Number((logs as { id: number }[])[0]?.id);
      const rows = await database.db.selectFrom("request_log").select("id").where("vault_id", "=", id).execute();
      const ids = rows.map((row) => Number(row.id)).sort((one, other) => one - other);
      await using reader = await tail(`${url}/tail`, member, { "last-event-id": String(ids[9]) });
      await expect.poll(() => reader.paths.length).toBe(440);
      expect(reader.paths[0]).toBe("/10");
      await record(id, { path: "/new" });
      await expect.poll(() => reader.paths.at(-1)).toBe("/new");
      await using late = await tail(`${url}/tail?after=${newest}`);
      await expect.poll(() => late.paths).toEqual(["/new"]);
    });

    it("shows only what passes the filter, and nothing of other vaults", async () => {
      const { id, url } = await newVault();
      const other = await newVault();
      await using reader = await tail(`${url}/tail?status_bucket=err&service=github`);
      await expect.poll(() => reader.events.length).toBe(1);
      await record(other.id, { path: "/foreign", status: 500 });
      await record(
        id,
        { path: "/fine" },
        { path: "/bad", status: 500 },
        { path: "/x", status: 500, matchedService: "" },
      );
      await record(id, { path: "/worse", status: 502 });
      await expect.poll(() => reader.paths).toEqual(["/bad", "/worse"]);
    });

    it("shows from now on to a reader whose position is made up", async () => {
      const { id, url } = await newVault();
      await record(id, { path: "/old" });
      await using reader = await tail(`${url}/tail`, member, { "last-event-id": "9007199254740991" });
      await using other = await tail(`${url}/tail`, member, { "last-event-id": "'; drop table request_log" });
      await expect.poll(() => reader.events.length + other.events.length).toBe(2);
      await record(id, { path: "/new" });
      await expect.poll(() => [reader.paths, other.paths]).toEqual([["/new"], ["/new"]]);
    });

    it("misses no row of two servers that write at the same time", async () => {
      const { id, url } = await newVault();
      const second = await ApiServer.start(database);
      await using reader = await tail(`${url}/tail`);
      await expect.poll(() => reader.events.length).toBe(1);
      const wanted = new Set<string>();
      for (let round = 0; round < 20; round++) {
        for (const [name, { domain }] of Object.entries({ a: api, b: second })) {
          for (let index = 0; index < 30; index++) {
            const path = `/${name}/${round}/${index}`;
            wanted.add(path);
            domain.journal.record(journalEntry({ vaultId: id, path }));
          }
        }
        await Promise.all([api.domain.journal.flush(), second.domain.journal.flush()]);
      }
      await second.close();
      // On SQLite nobody looks for the rows of another process; the next one of this process brings them along.
      await record(id, { path: "/last" });
      wanted.add("/last");
      await expect.poll(() => reader.paths.length, { timeout: 5_000 }).toBe(wanted.size);
      expect(new Set(reader.paths)).toEqual(wanted);
    });

    it("is refused to whoever may not read the log", async () => {
      const { url, name } = await newVault();
      const agent = await api.addAgent(member, `proxy-${name}`, { vaults: [{ vault_name: name }] });
      const scoped = await api.mint(member, name);
      const statuses: number[] = [];
      for (const token of [stranger, owner, agent, scoped, "av_sess_wrong"]) {
        for (const route of ["/tail", "/export"]) {
          statuses.push((await api.call("GET", `${url}${route}`, { token })).status);
        }
      }
      expect(statuses).toEqual([404, 404, 403, 403, 403, 403, 403, 403, 401, 401]);
    });

    it.each([
      {
        how: "the grant",
        async take(name: string) {
          await api.expect(200, "DELETE", `/v1/vaults/${name}/users/reader%40example.com`, { token: member });
        },
      },
      {
        how: "the role",
        async take(name: string) {
          const { id } = await database.db
            .selectFrom("vaults")
            .select("id")
            .where("name", "=", name)
            .executeTakeFirstOrThrow();
          await database.db.updateTable("vault_grants").set({ role: "proxy" }).where("vault_id", "=", id).execute();
        },
      },
      {
        how: "the vault",
        async take(name: string) {
          await api.expect(200, "DELETE", `/v1/vaults/${name}`, { token: member });
        },
      },
      {
        how: "the login",
        async take(_name: string, token: string) {
          await api.expect(200, "POST", "/v1/auth/logout", { token });
        },
      },
    ])("ends with $how, and shows nothing that came after", async ({ take }) => {
      const { id, url, name } = await newVault();
      await database.db.deleteFrom("users").where("email", "=", "reader@example.com").execute();
      const token = await api.addUser("reader@example.com");
      const body = { email: "reader@example.com", role: "member" };
      await api.expect(201, "POST", `/v1/vaults/${name}/users`, { token: member, body });
      await using reader = await tail(`${url}/tail`, token);
      await record(id, { path: "/1" });
      await expect.poll(() => reader.paths).toEqual(["/1"]);
      await take(name, token);
      await expect
        .poll(() => reader.events.at(-1), { timeout: 8_000 })
        .toMatchObject({
          event: "end",
          data: '{"reason":"access_ended"}',
        });
      await record(id, { path: "/2" });
      expect(await reader.done).toBe("ended");
      expect(reader.paths).toEqual(["/1"]);
    });

    it("is not given out without end", async () => {
      const { url } = await newVault();
      const open: EventReader[] = [];
      try {
        for (let index = 0; index < 8; index++) open.push(await tail(`${url}/tail`));
        expect(open.map(({ response }) => response.status)).toEqual(Array(8).fill(200));
        const refused = await api.call("GET", `${url}/tail`, { token: member });
        expect(refused).toMatchObject({ status: 429, body: { code: "too_many_tails" } });
        await open.pop()?.[Symbol.asyncDispose]();
        await expect
          .poll(async () => {
            const reader = await tail(`${url}/tail`);
            await reader[Symbol.asyncDispose]();
            return reader.response.status;
          })
          .toBe(200);
      } finally {
        for (const reader of open) await reader[Symbol.asyncDispose]();
      }
    });

    it("ends when the server stops, without keeping it", async () => {
      const server = await ApiServer.start(database);
      const { url } = await newVault();
      await using reader = await EventReader.open(`http://127.0.0.1:${server.port}${url}/tail`, {
        authorization: `Bearer ${member}`,
      });
      server.domain.tails.close();
      await server.close();
      expect(reader.events.at(-1)).toMatchObject({ event: "end", data: '{"reason":"server_stopping"}' });
    });
  });

  describe("exported", () => {
    it("has every row once, the oldest first, as the list shows it", async () => {
      const { id, url } = await newVault();
      await record(id, ...Array.from({ length: 1_203 }, (_, index) => ({ path: `/${index}` })));
      const answer = await api.call("GET", `${url}/export`, { token: member });
      expect(answer.headers.get("content-type")).toBe("application/x-ndjson");
      const rows = answer.text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(rows.map((row) => row.path)).toEqual(Array.from({ length: 1_203 }, (_, index) => `/${index}`));
      const { logs } = await api.expect(200, "GET", `${url}?limit=1`, { token: member });
      expect(rows.at(-1)).toEqual((logs as object[])[0]);
    });

    it("is CSV for a spreadsheet, filtered like the list", async () => {
      const { id, url } = await newVault();
      await record(id, { path: '/a,"b"' }, { path: "/no", status: 500 }, { path: "/c", credentialKeys: ["A", "B"] });
      const answer = await api.call("GET", `${url}/export?format=csv&status_bucket=2xx`, { token: member });
      expect(answer.headers.get("content-disposition")).toMatch(/^attachment; filename="vault-\d+-requests\.csv"$/);
      const [head, first, second, ...rest] = answer.text.split("\r\n");
      expect(head).toMatch(/^id,time,method,scheme,host,path,status,error_code,/);
      expect(first).toMatch(
        /^\d+,2026-01-31T12:00:00\.250Z,GET,https,api\.github\.com:443,"\/a,""b""",200,,github,TOK,/,
      );
      expect(second).toContain(',/c,200,,github,"A B",');
      expect(rest).toEqual([""]);
    });

    it("is empty, and not broken, for a vault without requests", async () => {
      const { url } = await newVault();
      expect(await api.call("GET", `${url}/export`, { token: member })).toMatchObject({ status: 200, text: "" });
      const csv = await api.call("GET", `${url}/export?format=csv`, { token: member });
      expect(csv.text.split("\r\n")).toHaveLength(2);
    });

    it("refuses a format that it does not have", async () => {
      const { url } = await newVault();
      for (const format of ["xml", "constructor", "__proto__"]) {
        expect((await api.call("GET", `${url}/export?format=${format}`, { token: member })).status).toBe(400);
      }
    });
  });
});
