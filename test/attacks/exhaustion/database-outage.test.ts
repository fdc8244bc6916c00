import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OwnCluster } from "../../support/postgres.ts";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire, type WireAnswer } from "../support/wire.ts";

defended({
  wants: "to have agents told that their tokens are wrong, or requests let through, while the database is away",
});

// An agent that is told "wrong token" throws its token away, and one that is told "no such service" asks people for it.
// A database that is away is neither, and must not lock anybody out; nor may it open anything.
describe("while the database is away", () => {
  let cluster: OwnCluster;
  let stage: Stage;
  let known = "";
  let fresh = "";
  let warm: Wire;
  let idle: Wire;
  const path = (at: number) => `/during-${at}`;

  beforeAll(async () => {
    cluster = await OwnCluster.start();
    stage = await setStage({ env: { DATABASE_URL: cluster.url } });
    const api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api), { ...bearerService(hosts.other), name: "off", enabled: false }]);
    known = await stage.newToken();
    // Minted, and never seen by the proxy.
    fresh = await stage.newToken();
    [warm, idle] = [await stage.tunnel({ token: known }), await stage.tunnel({ token: known })];
    expect((await ask(warm, "/before")).status).toBe(200);
    cluster.stop();
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  });

  async function ask(wire: Wire, target: string): Promise<WireAnswer> {
    wire.send(`GET ${target} HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n\r\n`);
    return await wire.answer();
  }

  /** @param isRefused the answer has a body then, and none otherwise. */
  async function connect(token: string, isRefused = true): Promise<WireAnswer> {
    const target = `${hosts.api}:${stage.secure.port}`;
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${proxyAuthorization({}, token)}\r\n`);
    return await wire.answer(isRefused ? "GET" : "HEAD");
  }

  const sortOut = ({ status, body, values }: WireAnswer) =>
    status === 503 ? `503 ${JSON.parse(body).error} ${values("retry-after").length > 0}` : String(status);

  it("a tunnel that is open is served from memory, or told to wait: nothing else, and it stays open", async () => {
    const outcomes = new Set<string>();
    for (let at = 0; at < 40; at++) {
      outcomes.add(sortOut(await ask(at % 2 === 0 ? warm : idle, path(at))));
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    for (const outcome of outcomes) expect(["200", "503 database_unavailable true"]).toContain(outcome);
  });

  it("a new tunnel is told to wait, whoever asks, as often as it asks", async () => {
    const outcomes = new Set<string>();
    for (let at = 0; at < 60; at++) outcomes.add(sortOut(await connect(at % 2 === 0 ? fresh : "av_sess_wrong")));
    expect([...outcomes]).toEqual(["503 database_unavailable true"]);
  });

  it("a request in plain is told to wait, too", async () => {
    const answer = await stage.askPlain("/plain", { token: fresh });
    expect(sortOut(answer)).toBe("503 database_unavailable true");
    expect(stage.plain.heads).toHaveLength(0);
  });

  it("and when it is back, everybody goes on: nobody is locked out, and the log has all of it", async () => {
    cluster.startAgain();
    const statuses: number[] = [];
    await expect
      .poll(async () => statuses.push((await connect(fresh, false)).status) && statuses.at(-1), { timeout: 15_000 })
      .toBe(200);
    for (const status of statuses.slice(0, -1)) expect(status).toBe(503);
    expect((await ask(warm, "/after")).status).toBe(200);
    expect((await connect("av_sess_wrong")).status).toBe(407);
    const logged = async () => {
      const { logs } = (await stage.server.api("GET", "/v1/vaults/default/logs?limit=200")) as {
        logs: { path: string; status: number }[];
      };
      return logs.map((row) => row.path);
    };
    await expect.poll(logged, { timeout: 15_000 }).toContain("/after");
    const paths = await logged();
    for (let at = 0; at < 40; at++) expect(paths.filter((one) => one === path(at))).toHaveLength(1);
    expect(stage.server.log()).not.toContain("journal entries could not");
  });
});
