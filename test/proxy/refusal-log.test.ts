import { describe, expect, it } from "vitest";
import { Corrupt, Forbidden, Unavailable, UpstreamFailed } from "../../src/errors.ts";
import { type Logger, silentLogger } from "../../src/log.ts";
import { logRefusal } from "../../src/proxy/refusal-log.ts";

function heard(error: unknown): string[] {
  const lines: string[] = [];
  const note = (level: string) => (event: string) => void lines.push(`${level} ${event}`);
  const log: Logger = {
    ...silentLogger,
    enabled: () => true,
    debug: note("debug"),
    warn: note("warn"),
    error: note("error"),
  };
  logRefusal(log, error, { requestId: "r", code: "c" });
  return lines;
}

describe("what the operator hears of a refusal", () => {
  it.each([
    [new UpstreamFailed("credential_not_found", "m"), "warn request_not_served"],
    [new UpstreamFailed("oauth_refresh_failed", "m"), "warn request_not_served"],
    [new Unavailable("unavailable", "m"), "warn request_not_served"],
    [new Corrupt("corrupt", "m"), "warn request_not_served"],
    [new TypeError("a bug"), "error proxy_failure"],
    [new UpstreamFailed("dns_failed", "m", { cause: new Error("x") }), "debug proxy_refusal"],
    [new UpstreamFailed("dns_failed", "m"), undefined],
    [new Forbidden("forbidden", "m"), undefined],
  ])("%s: %s", (error, line) => {
    expect(heard(error)).toEqual(line === undefined ? [] : [line]);
  });
});
