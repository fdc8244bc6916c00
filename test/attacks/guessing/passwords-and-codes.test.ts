/** Guessing passwords and codes, against servers that are started again, and against several on one database. */
import { afterEach, describe, expect, it } from "vitest";
import { ServerGroup } from "../../support/server-group.ts";
import { defended } from "../support/declaration.ts";

defended({ wants: "to guess a password or a code, with a server that starts again or several to ask" });

const email = "owner@example.com";
const password = "correct-pass-1";
/** Each server counts anonymous requests in its memory besides: here that limit is far away from the one on guesses. */
const limits = { AGENT_VAULT_TRUSTED_PROXIES: "127.0.0.1", AGENT_VAULT_RATELIMIT_AUTH_MAX: "5" };

describe.each(["sqlite", "postgres"] as const)("a guesser (%s)", (engine) => {
  let group: ServerGroup;
  afterEach(async () => {
    await group[Symbol.asyncDispose]();
  });
  const post = (path: string, body: object, ip = "203.0.113.9") =>
    group.call("POST", `/v1/auth/${path}`, { body, headers: { "x-forwarded-for": ip } });
  const login = (secret: string, ip?: string) => post("login", { email, password: secret }, ip);

  it("is held up although all servers were started again, and whichever of them it asks", async () => {
    group = await ServerGroup.start(engine, limits);
    await group.expect(201, "POST", "/v1/auth/register", { body: { email, password } });
    await group.initialized();
    const first = [];
    for (let guess = 0; guess < 4; guess++) first.push((await login(`guess-${guess}`)).status);
    expect(first).toEqual([401, 401, 401, 401]);
    await group.restart();
    expect((await login("guess-4")).status).toBe(401);
    await group.restart();
    // Nothing of what these processes remember stands in the way: the counts of the database do. On each of them.
    for (const _ of group.servers) {
      const held = await login(password);
      expect([held.status, held.body.error]).toEqual([429, "too_many_requests"]);
      expect(Number(held.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect((await login(password, "198.51.100.7")).status).toBe(200);
  });

  it("that comes from many places is held up too, although all servers were started again", async () => {
    group = await ServerGroup.start(engine, limits);
    await group.expect(201, "POST", "/v1/auth/register", { body: { email, password } });
    await group.initialized();
    for (let guess = 0; guess < 25; guess++) {
      expect((await login(`guess-${guess}`, `203.0.113.${guess}`)).status).toBe(401);
    }
    await group.restart();
    for (const _ of group.servers) expect((await login(password, "198.51.100.200")).status).toBe(429);
  });

  it("of codes has ten tries in all, and none with the right code afterwards", async () => {
    group = await ServerGroup.start(engine, { ...limits, AGENT_VAULT_RATELIMIT_AUTH_MAX: "1000" });
    await group.expect(201, "POST", "/v1/auth/register", { body: { email, password } });
    await group.initialized();
    await post("forgot-password", { email });
    await expect.poll(() => group.codeFor(email)).toMatch(/^\d{6}$/);
    const code = group.codeFor(email);
    const reset = (attempt: string) => post("reset-password", { email, code: attempt, new_password: "stolen-pass-1" });
    const wrong = code === "000000" ? "000001" : "000000";
    const guesses = async (count: number) => {
      const statuses = [];
      for (let guess = 0; guess < count; guess++) statuses.push((await reset(wrong)).status);
      return statuses;
    };
    expect(await guesses(5)).toEqual(Array(5).fill(400));
    await group.restart();
    expect(await guesses(6)).toEqual([400, 400, 400, 400, 400, 429]);
    await group.restart();
    for (const _ of group.servers) expect((await reset(code)).status).toBe(429);
    expect((await login(password)).status).toBe(200);
  });
});
