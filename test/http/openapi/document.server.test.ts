import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codesOf } from "../../../src/http/openapi/document.ts";
import type { OpenApiDocument, Operation } from "../../../src/http/openapi/document-form.ts";
import { errorCodes } from "../../../src/http/openapi/error-codes.ts";
import { ApiServer, openScratchDatabase, type ScratchDatabase } from "../../support/api-server.ts";

describe("the description of the API", () => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let document: OpenApiDocument;
  beforeAll(async () => {
    database = await openScratchDatabase();
    api = await ApiServer.start(database);
    document = JSON.parse((await api.call("GET", "/openapi.json")).text) as OpenApiDocument;
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it("is valid OpenAPI 3.1", async () => {
    const validator = new Validator();
    const result = await validator.validate(JSON.parse(JSON.stringify(document)) as Record<string, unknown>);
    expect(result.errors ?? []).toEqual([]);
    expect(validator.version).toBe("3.1");
  });

  it("holds every route and no other", () => {
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const registered = api.routes.map(({ method, path }) => `${method} ${path.replaceAll("...}", "}")}`);
    expect(described.sort()).toEqual(registered.sort());
  });

  it("holds every error that some route may answer, and the list of errors no other", () => {
    const used = new Set(api.routes.flatMap(({ contract }) => [...codesOf(contract)]));
    expect([...errorCodes.keys()].filter((code) => !used.has(code))).toEqual([]);
  });

  it("is there before the first account, for everybody, and is not sent twice", async () => {
    const first = await api.call("GET", "/openapi.json");
    expect(first.headers.get("cache-control")).toBe("public, max-age=300");
    const etag = first.headers.get("etag") ?? "";
    const again = await api.call("GET", "/openapi.json", { headers: { "if-none-match": `"other", W/${etag}` } });
    expect([again.status, again.text, again.headers.get("etag")]).toEqual([304, "", etag]);
    const other = await api.call("GET", "/openapi.json", { headers: { "if-none-match": '"other"' } });
    expect(other.status).toBe(200);
  });

  it("names the parameters of each path", () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const operation of Object.values(methods) as Operation[]) {
        expect(operation.parameters.filter((parameter) => parameter.in === "path").map(({ name }) => name)).toEqual(
          names,
        );
      }
    }
  });
});
