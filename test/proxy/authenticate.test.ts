import { describe, expect, it } from "vitest";
import { Unauthenticated, Unavailable } from "../../src/errors.ts";
import { Authenticator, parseProxyAuthorization } from "../../src/proxy/authenticate.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");

describe("Proxy-Authorization", () => {
  it.each([
    ["Bearer t", "t", undefined],
    ["bEaReR t", "t", undefined],
    [`Basic ${base64("t")}`, "t", undefined],
    [`Basic ${base64("t:")}`, "t", undefined],
    [`Basic ${base64("t:prod")}`, "t", "prod"],
    [`basic ${base64("t:a:b")}`, "t", "a:b"],
  ])("%s is a token and a vault", (value, token, vaultHint) => {
    expect(parseProxyAuthorization(value)).toEqual({ token, vaultHint });
  });

  it.each([
    `Basic ${base64(":prod")}`,
    "Basic %%%",
    "Basic ",
    `Basic ${base64("t")}x`,
    "Basic dA",
    `Basic ${base64("t:a\u0000b")}`,
    `Basic ${base64("t\n:a")}`,
    "Digest x",
    "Bearer",
    "Bearer ",
    "",
  ])("%j is no token", (value) => {
    expect(parseProxyAuthorization(value)).toBeUndefined();
  });
});

describe("wrong tokens", () => {
  const failing = { resolve: async () => Promise.reject(new Unauthenticated("invalid_token", "No")) };
  const attempt = async (ip: string, value: string | undefined) => {
    const recorded: string[] = [];
    const authFailures = { check: () => undefined, record: (from: string) => void recorded.push(from) };
    await new Authenticator({ scopes: failing, authFailures }).authenticate(value, ip).catch(() => undefined);
    return recorded;
  };

  it("count against an address", async () => {
    expect(await attempt("8.8.8.8", "Bearer t")).toEqual(["8.8.8.8"]);
  });

  it("do not count while nobody can say whether they are wrong", async () => {
    const recorded: string[] = [];
    const scopes = { resolve: () => Promise.reject(new Unavailable("database_unavailable", "The database is away")) };
    const authFailures = { check: () => undefined, record: (from: string) => void recorded.push(from) };
    const authenticator = new Authenticator({ scopes, authFailures });
    await expect(authenticator.authenticate("Bearer t", "8.8.8.8")).rejects.toMatchObject({ status: 503 });
    expect(recorded).toEqual([]);
  });

  it("do not count when none was presented, or from loopback", async () => {
    expect(await attempt("8.8.8.8", undefined)).toEqual([]);
    for (const ip of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
      expect(await attempt(ip, "Bearer t")).toEqual([]);
    }
  });
});
