import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { fixed } from "../support/reflection.ts";
import { hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to hear what went into a query in the place of a placeholder" });

describe("an upstream that returns the credential", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  it("gives an agent that substitutes no second way: what went into the query comes back as the placeholder", async () => {
    const service = {
      name: "upstream",
      host: `${hosts.api}:${stage.secure.port}`,
      auth: { type: "passthrough" },
      substitutions: [{ key: "UPSTREAM_TOKEN", placeholder: "__token__", in: ["query"] }],
    };
    await stage.services([service]);
    stage.secure.script = (connection) => {
      const [, target = ""] = /^GET (\S+)/.exec(connection.received) ?? [];
      connection.send(fixed("", `{"next":"${target}"}`));
    };
    const { body } = await stage.ask("/list?key=__token__&page=2");
    expect(stage.secure.heads[0]).toContain(`GET /list?key=${secret}&page=2 HTTP/1.1`);
    expect(body).toBe('{"next":"/list?key=__token__&page=2"}');
    expect(await stage.everythingWritten()).not.toContain(secret);
  });
});
