/**
 * Calls every operation of the document as every kind of actor: with what it allows, with one thing that it does not,
 * and with what nobody should send. The seed is in the name of the test; AGENT_VAULT_FUZZ_SEED repeats a run.
 */
import { Writable } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { OpenApiDocument, Operation } from "../../../src/http/openapi/document-form.ts";
import { createLogger } from "../../../src/log.ts";
import { ApiContract } from "../../support/api-contract.ts";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../../support/api-server.ts";
import { type RawAnswer, RawHttp } from "../../support/raw-http.ts";
import {
  type ActorName,
  actorNames,
  buildFuzzWorld,
  type FuzzWorld,
  isWhole,
  type Prepared,
  prepare,
  revealers,
} from "./fuzz-world.ts";
import { Chance, hostileBodies, hostileSegments, sentSecret, Values } from "./values.ts";

const seed = Number(process.env.AGENT_VAULT_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** For rounds of chance after the walk; AGENT_VAULT_FUZZ_MS has more of them. */
const chanceMs = Number(process.env.AGENT_VAULT_FUZZ_MS ?? 3_000);
/** A walk that is still going on then goes on with one actor only. */
const walkMs = 10_000;
const patienceMs = 5_000;

/** What cannot succeed in a server without mail, proxy, external store and provider. */
const neverDone: ReadonlySet<string> = new Set([
  ...["sendTestMail", "getCertificate", "syncVault", "confirmOAuth"],
  // There is no proxy here, and so no root certificate.
  ...["startRotation", "activateRotation", "finishRotation", "cancelRotation"],
]);
/** These hash a password, which is slow on purpose, and ask little about who calls. */
const hashing: ReadonlySet<string> = new Set([
  "register",
  "verifyAccount",
  "resetPassword",
  "login",
  "changePassword",
  "revokeLogin",
  "acceptUserInvite",
]);

/** Refusals that say that the server lacks something, not that it failed. */
const honest: ReadonlySet<string> = new Set(["infisical_not_configured", "webhooks_off"]);

const traces = [
  /(?:^|\n|\\n)\s*at [^\n]{1,300}:\d+:\d+/,
  /\.ts:\d+/,
  /node:internal/,
  /SQLITE_/,
  /syntax error at/i,
  /Kysely/i,
];

interface Target {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

interface Sent {
  readonly method: string;
  readonly target: string;
  readonly body: Uint8Array | undefined;
  readonly headers: readonly (readonly [string, string])[];
}

describeOnEachEngine("a fuzz of the API", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let http: RawHttp;
  let contract: ApiContract;
  let values: Values;
  let targets: readonly Target[];
  let owner: string;
  let world: FuzzWorld;
  const chance = new Chance(seed);
  const logged: string[] = [];
  const done = new Set<string>();

  beforeAll(async () => {
    database = await openScratch();
    const stream = new Writable({
      write(chunk, _, next) {
        logged.push(String(chunk));
        next();
      },
    });
    api = await ApiServer.start(database, { log: createLogger({ level: "debug", format: "text", stream }) });
    http = new RawHttp(api.port);
    const document = JSON.parse((await api.call("GET", "/openapi.json")).text) as OpenApiDocument;
    contract = new ApiContract(document);
    values = new Values(document, chance);
    targets = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
    );
    owner = await api.registerOwner();
    world = await buildFuzzWorld(api, owner);
  });
  afterAll(async () => {
    http[Symbol.dispose]();
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it(`finds no fault, no trace and no secret (seed ${seed})`, { timeout: 60_000 }, async () => {
    const hurryAt = Date.now() + walkMs;
    for (const target of targets) {
      await makeWhole();
      const isDear = hashing.has(target.operation.operationId);
      for (const actor of actorsFor(target, { isHurried: Date.now() > hurryAt })) {
        const ready = await prepared(target);
        await call(target, actor, good(target, ready), "good");
        await call(target, actor, nearlyGood(target, isDear ? ready : await prepared(target)), "nearly good");
        await call(target, actor, hostile(target), "hostile");
      }
    }
    const deadline = Date.now() + chanceMs;
    while (Date.now() < deadline) {
      const target = chance.oneOf(targets);
      if (hashing.has(target.operation.operationId)) continue;
      await makeWhole();
      for (let round = 0; round < 8 && Date.now() < deadline; round++) {
        const actor = chance.oneOf(actorNames);
        await call(target, actor, nearlyGood(target, { body: undefined }), "nearly good");
        await call(target, actor, hostile(target), "hostile");
      }
    }
    expect(
      targets.map(({ operation }) => operation.operationId).filter((id) => !done.has(id) && !neverDone.has(id)),
    ).toEqual([]);
  });

  it("leaves a server that works", async () => {
    await makeWhole();
    expect((await api.call("GET", "/health")).body).toEqual({ status: "ok" });
    const listed = await api.call("GET", `/v1/credentials?vault=${world.vault}&reveal=true&key=SEEDED_KEY`, {
      token: owner,
    });
    expect(JSON.stringify(listed.body)).toContain(world.values[0]);
  });

  it("leaves nothing of a secret, and no fault, in the log", () => {
    expect(logged.length).toBeGreaterThan(100);
    const log = logged.join("");
    expect([...world.secrets, sentSecret].filter((secret) => log.includes(secret))).toEqual([]);
    expect(logged.filter((line) => line.includes("unexpected failure"))).toEqual([]);
  });

  it("refuses a body that lacks what the document calls required, or has another word in an enumeration", async () => {
    const taken: string[] = [];
    for (const target of targets) {
      if (spoiltFields(target.operation, {}).length === 0) continue;
      await makeWhole();
      const ready = await prepared(target);
      for (const [what, body] of spoiltFields(target.operation, ready.body ?? goodBody(target))) {
        const actor = target.operation["x-callers"] === "agent" ? "agent" : "owner";
        const answer = await call(target, actor, { ...good(target, ready), body: jsonBytes(body) }, what);
        if (answer !== undefined && answer.status < 400) taken.push(`${target.operation.operationId} ${what}`);
      }
    }
    expect(taken).toEqual([]);
  });

  /** The world as the next operation needs it, with limits that do not stand in the way. */
  async function makeWhole(): Promise<void> {
    const body = { invite_only: false, allowed_email_domains: [], rate_limit: { profile: "off" } };
    await api.expect(200, "PUT", "/v1/admin/settings", { token: owner, body });
    // There may be only as many open ones at a time.
    for (const table of ["user_invites", "agent_invites"] as const) {
      await database.db.updateTable(table).set({ status: "revoked" }).where("status", "=", "pending").execute();
    }
    await database.db.updateTable("proposals").set({ status: "rejected" }).where("status", "=", "pending").execute();
    if (!(await isWhole(api, world))) world = await buildFuzzWorld(api, owner);
  }

  function actorsFor({ operation }: Target, { isHurried }: { readonly isHurried: boolean }): readonly ActorName[] {
    const few: readonly ActorName[] = ["anonymous", "member"];
    if (hashing.has(operation.operationId)) return few;
    if (isHurried) return operation["x-callers"] === "agent" ? ["agent"] : ["owner", "member"];
    return operation.security.length === 0 ? [...few, "scoped"] : actorNames;
  }

  async function prepared({ operation }: Target): Promise<Prepared> {
    return prepare(api, world, owner, operation.operationId);
  }

  function goodBody({ operation }: Target): unknown {
    const schema = operation.requestBody?.content["application/json"]?.schema;
    return schema === undefined ? undefined : values.good(schema, { vault: world.vault, vault_name: world.vault });
  }

  function good(target: Target, ready: Prepared): Sent {
    const { method, operation } = target;
    const body = ready.body ?? goodBody(target);
    const params = knownParams(target);
    const path = target.path.replace(/\{(\w+)\}/g, (_, name: string) =>
      encodeURIComponent(ready.params?.[name] ?? params[name] ?? "x"),
    );
    const query = operation.parameters.flatMap(({ name, in: place, required, schema }) => {
      if (place !== "query" || !(required || name === "vault" || ready.query?.[name] !== undefined || chance.isIn(0.3)))
        return [];
      const value =
        ready.query?.[name] ?? String(values.good(schema, { vault: world.vault, cursor: "", wait: "1ms" }, name));
      return [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`];
    });
    return {
      method,
      target: query.length === 0 ? path : `${path}?${query.join("&")}`,
      headers: [["X-Vault", world.vault]],
      body: body === undefined ? undefined : jsonBytes(body),
    };
  }

  function knownParams({ path, operation }: Target): Readonly<Record<string, string>> {
    const name = path.startsWith("/v1/agents/") ? world.agent : world.vault;
    const key = operation.operationId.includes("OAuth") ? "OAUTH_KEY" : "SEEDED_KEY";
    return { name, key, agentName: world.agent, email: world.member, ref: "seeded", id: "1" };
  }

  /** One thing is not as it should be: in the body, in the query or in the path. */
  function nearlyGood(target: Target, ready: Prepared): Sent {
    const sent = good(target, ready);
    const body = ready.body ?? goodBody(target);
    if (body !== undefined && chance.isIn(0.7)) return { ...sent, body: jsonBytes(values.spoilt(body)) };
    const [path = "", query = ""] = sent.target.split("?");
    const at = chance.oneOf(["path", "query", "method"]);
    if (at === "path") return { ...sent, target: `${spoiltPath(target)}${query && `?${query}`}` };
    if (at === "method") return { ...sent, method: chance.oneOf(["HEAD", sent.method]) };
    return { ...sent, target: `${path}?${spoiltQuery(target.operation)}` };
  }

  /** Nothing is as it should be. */
  function hostile(target: Target): Sent {
    const body = chance.oneOf(hostileBodies);
    const names = ["X-Vault", "If-Match", "If-None-Match", "Last-Event-ID", "Accept", "User-Agent", "X-Forwarded-For"];
    const odd = ["", "*", '"', '""', "\u00ff\u00fe", "a".repeat(4_000), "../x", "{{ SEEDED_KEY }}", "-1", "0x10", "W/"];
    const types = [
      "application/json",
      "text/plain",
      "application/xml",
      "multipart/form-data; boundary=x",
      "application/json; charset=utf-7",
    ];
    const path = chance.isIn(0.5) ? spoiltPath(target) : good(target, {}).target.split("?", 1)[0];
    const mayHaveBody = target.method !== "GET" || chance.isIn(0.1);
    return {
      method: target.method,
      target: `${path}?${spoiltQuery(target.operation)}`,
      headers: [
        [chance.oneOf(names), chance.oneOf(odd)],
        ["Content-Type", chance.oneOf(types)],
      ],
      body: mayHaveBody ? body.bytes() : undefined,
    };
  }

  function spoiltPath({ path }: Target): string {
    return path.replace(/\{(\w+)\}/g, () => chance.oneOf(hostileSegments));
  }

  function spoiltQuery({ parameters }: Operation): string {
    const names = [...parameters.filter((one) => one.in === "query").map(({ name }) => name), "limit", "cursor", "x"];
    // A wait is granted, so none is asked for here.
    const pairs = names
      .filter((name) => name !== "wait" && chance.isIn(0.6))
      .map((name) => `${name}=${chance.oneOf(hostileSegments)}`);
    return [...pairs, chance.oneOf(["", "&&", "=", "%", "a=%zz", "__proto__=1", "a;b=c"])].join("&");
  }

  async function call(target: Target, actor: ActorName, sent: Sent, what: string): Promise<RawAnswer | undefined> {
    const token = world.tokens[actor];
    const headers = [...sent.headers, ...(token === undefined ? [] : [["Authorization", `Bearer ${token}`] as const])];
    const isStream = target.operation.operationId === "followLogs";
    const answer = await http.send({ ...sent, headers }, isStream ? 100 : patienceMs);
    const where = `seed ${seed}: ${what} ${sent.method} ${sent.target.slice(0, 300)} as ${actor}, body ${Buffer.from(
      sent.body ?? [],
    )
      .toString("latin1")
      .slice(0, 300)}`;
    if (answer === undefined) {
      // The server stops reading what is too large, and may then be faster than its own answer.
      if ((sent.body?.byteLength ?? 0) > 1_000_000) return undefined;
      throw new Error(`no answer: ${where}`);
    }
    judge(target, actor, answer, where);
    const violation = answer.isCut
      ? undefined
      : contract.violation({ method: sent.method, path: sent.target, ...answer });
    if (violation !== undefined) throw new Error(`${violation}\n${where}`);
    if (answer.status < 400) done.add(target.operation.operationId);
    return answer;
  }

  function judge({ operation }: Target, actor: ActorName, answer: RawAnswer, where: string): void {
    const { status, text, headers, isCut } = answer;
    const everything = `${text}\n${[...headers].flat().join("\n")}`;
    if (isCut && operation.operationId !== "followLogs") throw new Error(`no end of the answer: ${where}`);
    if (status >= 500 && !honest.has(codeIn(text))) throw new Error(`${status} ${text}: ${where}`);
    if (traces.some((trace) => trace.test(text))) throw new Error(`a trace in ${text}: ${where}`);
    const isShown = operation.operationId === "listCredentials" && revealers.has(actor);
    const secrets = isShown ? world.secrets.filter((secret) => !world.values.includes(secret)) : world.secrets;
    const leaked = [...secrets, ...(isShown ? [] : [sentSecret])].find((secret) => everything.includes(secret));
    if (leaked !== undefined) throw new Error(`the secret ${leaked} in ${status} ${text.slice(0, 500)}: ${where}`);
    if (headers.get("x-content-type-options") !== "nosniff" && !isTransport(answer)) {
      throw new Error(`no security headers: ${where}`);
    }
  }
});

/** What is answered before the API looks at a request. */
function isTransport({ status }: RawAnswer): boolean {
  return status === 400;
}

function codeIn(text: string): string {
  return /"code":"(\w+)"/.exec(text)?.[1] ?? "";
}

function jsonBytes(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value) ?? "null");
}

/** The body without each of the fields that it needs, and with another word in each enumeration. */
function spoiltFields({ requestBody }: Operation, body: unknown): (readonly [string, object])[] {
  const schema = requestBody?.content["application/json"]?.schema;
  if (schema === undefined || typeof body !== "object" || body === null) return [];
  const required = (schema.required ?? []) as readonly string[];
  const properties = (schema.properties ?? {}) as Readonly<Record<string, { readonly enum?: unknown }>>;
  return [
    ...required.map((name) => {
      const { [name]: _, ...others } = body as Record<string, unknown>;
      return [`without ${name}`, others] as const;
    }),
    ...Object.entries(properties).flatMap(([name, member]) =>
      member.enum === undefined ? [] : [[`with another ${name}`, { ...body, [name]: "another-word" }] as const],
    ),
  ];
}
