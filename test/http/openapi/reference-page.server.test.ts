import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { errorCodes } from "../../../src/http/openapi/error-codes.ts";
import { ApiServer, openScratchDatabase, type ScratchDatabase } from "../../support/api-server.ts";

describe("the reference page", () => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let html: string;
  let policy: string;
  beforeAll(async () => {
    database = await openScratchDatabase();
    api = await ApiServer.start(database);
    const answer = await api.call("GET", "/openapi");
    html = answer.text;
    policy = answer.headers.get("content-security-policy") ?? "";
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it("shows every operation and every error", () => {
    for (const { contract } of api.routes) expect(html).toContain(`id="${contract.operation}"`);
    for (const code of errorCodes.keys()) expect(html).toContain(`<code>${code}</code>`);
  });

  it("loads and runs nothing, and its policy lets nothing but its own style in", () => {
    expect(html).not.toMatch(/<(script|img|link|iframe|object|form)\b|\bon\w+=|javascript:|url\(|@import/i);
    const style = /<style>(.*?)<\/style>/s.exec(html)?.[1] ?? "";
    const hash = createHash("sha256").update(style).digest("base64");
    expect(policy).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    // With this policy an attribute would not be looked at.
    expect(html).not.toContain(" style=");
  });

  it("leads only to places that it has, or to the document", () => {
    const ids = new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    expect(ids.size).toBe([...html.matchAll(/ id="/g)].length);
    const links = [...html.matchAll(/href="([^"]+)"/g)].map(([, link = ""]) => link);
    expect(links.filter((link) => link !== "/openapi.json" && !ids.has(link.replace(/^#/, "")))).toEqual([]);
  });
});
