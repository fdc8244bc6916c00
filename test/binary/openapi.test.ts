import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OpenApiDocument } from "../../src/http/openapi/document-form.ts";
import { ApiContract } from "../support/api-contract.ts";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";

describe("the binary's description of its API", () => {
  let server: BinaryServer;
  let token: string;
  let document: OpenApiDocument;
  let contract: ApiContract;

  beforeAll(async () => {
    server = await startBinaryServer();
    document = (await (await fetch(`${server.apiUrl}/openapi.json`)).json()) as OpenApiDocument;
    contract = new ApiContract(document);
    const body = JSON.stringify({ email: "owner@example.com", password: "a-good-password" });
    const registered = await fetch(`${server.apiUrl}/v1/auth/register`, { method: "POST", body });
    token = ((await registered.json()) as { token: string }).token;
  });
  afterAll(async () => {
    await server?.stop();
  });

  const call = async (method: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${token}`, "x-vault": "default" };
    const response = await fetch(`${server.apiUrl}${path}`, {
      method,
      headers,
      redirect: "manual",
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    expect(
      contract.violation({ method, path, status: response.status, headers: response.headers, text }),
    ).toBeUndefined();
    return response.status;
  };

  it("is valid, and of the version that the binary says it is", async () => {
    expect(
      (await new Validator().validate(JSON.parse(JSON.stringify(document)) as Record<string, unknown>)).valid,
    ).toBe(true);
    expect(await server.cli(["version"])).toContain(document.info.version);
  });

  it("is what an instance with a proxy and the whole catalog answers", async () => {
    const service = { name: "stripe", host: "api.stripe.com", auth: { type: "bearer", token: "STRIPE_KEY" } };
    const done = [
      await call("POST", "/v1/credentials", {
        credentials: { STRIPE_KEY: "sk_1" },
        details: { STRIPE_KEY: { description: "x" } },
      }),
      await call("POST", "/v1/vaults/default/services", { services: [service] }),
      await call("GET", "/v1/vaults/default/services"),
      await call("GET", "/v1/service-catalog"),
      await call("GET", "/v1/skills/cli"),
      await call("GET", "/v1/mitm/ca.pem"),
      await call("GET", "/v1/credentials?reveal=true"),
      await call("GET", "/v1/audit"),
      await call("GET", "/v1/audit/export"),
      await call("GET", "/metrics"),
      await call("GET", "/openapi"),
    ];
    expect(done).toEqual(done.map(() => 200));
  });

  it("holds for every operation that only reads", async () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      if (methods.get === undefined || path.endsWith("/tail")) continue;
      await call("GET", path.replace("{name}", "default").replace(/\{\w+\}/g, "nothing"));
    }
  });
});
