import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { ScrubMode, Service } from "../../../src/domain/services/service.ts";
import type { ResponseHead } from "../../../src/proxy/http1/head.ts";
import { rebuildResponseHead } from "../../../src/proxy/http1/rebuild.ts";
import { AnswerScrubber, scrubPlanFor } from "../../../src/proxy/scrub/answer.ts";
import type { ScrubbedBodySink } from "../../../src/proxy/scrub/body.ts";
import { injectedValues } from "../../../src/proxy/scrub/injected.ts";
import type { InjectedValue } from "../../../src/proxy/scrub/needles.ts";

const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const marker = "[redacted]**********************";
const values = [{ key: "KEY", value: secret }];
const service = (rest: Pick<Service, "auth" | "substitutions">): Service => ({
  name: "s",
  pattern: { host: "h.test" },
  ...rest,
});

function sink(): ScrubbedBodySink & { readonly parts: Buffer[]; readonly ended: Promise<void> } {
  const parts: Buffer[] = [];
  let finish: () => void;
  const ended = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const fail = (error: Error) => {
    throw error;
  };
  return {
    parts,
    ended,
    onBody: (chunk) => void parts.push(chunk),
    onEnd: () => finish(),
    onDrain: () => undefined,
    onFailure: fail,
  };
}

function head(headers: readonly string[], reason = "OK"): ResponseHead {
  return rebuildResponseHead(200, reason, headers);
}

function scrubberFor(mode: ScrubMode, found: readonly InjectedValue[]): AnswerScrubber | undefined {
  const plan = scrubPlanFor(mode, found);
  return plan && new AnswerScrubber(plan);
}

describe("an answer", () => {
  it("is not looked at when nobody wants it, or nothing can be found", () => {
    expect(scrubberFor("off", values)).toBeUndefined();
    expect(scrubberFor("redact", [])).toBeUndefined();
    expect(scrubberFor("redact", [{ key: "PIN", value: "1234" }])).toBeUndefined();
  });

  it("is scrubbed in its reason, headers, body and trailers, with one report", async () => {
    const scrubber = scrubberFor("redact", values);
    const out = sink();
    const framing = { kind: "length", length: 100 } as const;
    const started = scrubber?.start(head(["X-Echo", secret, "Content-Length", "100"], `No ${secret}`), framing, out);
    expect(started?.head.headers).toEqual(["X-Echo", marker, "Content-Length", "100"]);
    expect(started?.head.reason).toBe(`No ${marker}`);
    expect(started?.framing).toBe(framing);
    started?.body?.push(Buffer.from(`a ${secret} b`));
    started?.body?.end();
    await out.ended;
    expect(Buffer.concat(out.parts).toString()).toBe(`a ${marker} b`);
    expect(scrubber?.trailers(["X-Sum", secret])).toEqual(["X-Sum", marker]);
    expect([...(scrubber?.found ?? [])]).toEqual(["KEY"]);
  });

  it("loses its length with its coding, where it has a body", async () => {
    const headers = ["Content-Encoding", "gzip", "Content-Length", "9"];
    const out = sink();
    const started = scrubberFor("redact", values)?.start(head(headers), { kind: "length", length: 9 }, out);
    expect(started?.head.headers).toEqual([]);
    expect(started?.framing).toEqual({ kind: "chunked" });
    started?.body?.push(gzipSync(secret));
    started?.body?.end();
    await out.ended;
    expect(Buffer.concat(out.parts).toString()).toBe(marker);
    for (const framing of [{ kind: "none" }, { kind: "length", length: 0 }] as const) {
      const empty = scrubberFor("redact", values)?.start(head(headers), framing, sink());
      expect(empty).toMatchObject({ framing, body: undefined, head: { headers } });
    }
  });

  it("keeps the very same head when there is nothing to find", () => {
    const plain = head(["Content-Type", "a/b"]);
    const scrubber = scrubberFor("redact", values);
    expect(scrubber?.start(plain, { kind: "none" }, sink()).head).toBe(plain);
    expect(scrubber?.informational(plain)).toBe(plain);
  });

  it("is blocked before its head leaves when a value is in there", () => {
    const scrubber = scrubberFor("block", values);
    expect(() => scrubber?.start(head(["X", secret]), { kind: "none" }, sink())).toThrow(/value of KEY/);
    expect(() => scrubber?.start(head(["Content-Encoding", "x"]), { kind: "close" }, sink())).toThrow(
      /cannot be searched/,
    );
  });
});

describe("what a service injects", () => {
  const revealed = (...keys: string[]) => new Map(keys.map((key) => [key, `value-of-${key}`]));

  it("is the value of each credential it names, with the placeholder if there is one", () => {
    const bearer = service({
      auth: { type: "bearer", token: "TOKEN" },
      substitutions: [{ key: "SID", placeholder: "__sid__", in: ["path"] }],
    });
    const values = revealed("TOKEN", "SID");
    expect(injectedValues(bearer, values), "made once for each map").toBe(injectedValues(bearer, values));
    expect(injectedValues(bearer, values)).toEqual([
      { key: "TOKEN", value: "value-of-TOKEN" },
      { key: "SID", value: "value-of-SID", placeholder: "__sid__" },
    ]);
  });

  it("is the pair for basic, so that short parts and base64 of base64 are found", () => {
    const basic = service({ auth: { type: "basic", username: "U", password: "P" }, substitutions: [] });
    const values = new Map([
      ["U", "admin"],
      ["P", "hunter2"],
    ]);
    const short = injectedValues(basic, values);
    const scrubber = scrubberFor("redact", short);
    const header = `Basic ${Buffer.from("admin:hunter2").toString("base64")}`;
    expect(scrubber?.trailers(["X", header])[1]).toBe("Basic [redacted]**********");
    const twice = Buffer.from(`{"authorization":"${header}"}`).toString("base64");
    const scrubbed = scrubber?.trailers(["X", twice])[1] ?? "";
    expect(Buffer.from(scrubbed.replaceAll(/[^A-Za-z0-9+/=]/g, ""), "base64").toString()).not.toContain("aHVudGVyM");
    expect(scrubbed).toContain("[redacted]");
  });
});
