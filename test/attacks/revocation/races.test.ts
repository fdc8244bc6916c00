import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newAgent } from "../support/agents.ts";
import { defended } from "../support/declaration.ts";
import { Gate } from "../support/gate.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to slip through between the decision and the moment in which the credential is sent" });

describe("requests in the moment of a revocation", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
  });

  beforeEach(async () => {
    await stage.services([bearerService(api)]);
    await stage.secure.reset();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  const changes: readonly { readonly name: string; readonly change: (agent: string) => Promise<unknown> }[] = [
    { name: "the agent is deleted", change: (agent) => stage.server.api("DELETE", `/v1/agents/${agent}`) },
    {
      name: "its grant is removed",
      change: (agent) => stage.server.api("DELETE", `/v1/vaults/default/agents/${agent}`),
    },
    { name: "its token is replaced", change: (agent) => stage.server.api("POST", `/v1/agents/${agent}/rotate`) },
    {
      name: "the service is switched off",
      change: () => stage.server.api("PATCH", "/v1/vaults/default/services/upstream", { enabled: false }),
    },
  ];
  const deleted = {
    name: "the credential is deleted",
    change: () => stage.server.api("DELETE", "/v1/credentials", { vault: "default", keys: ["UPSTREAM_TOKEN"] }),
  };

  it.each([...changes, deleted])(
    "get nothing once the answer to the change is there, however many hammer: $name",
    async ({ change }) => {
      const agent = `hammer-${Math.random().toString(36).slice(2, 8)}`;
      const token = await newAgent(stage, agent);
      const wires = await Promise.all(Array.from({ length: 12 }, () => stage.tunnel({ token })));
      let isChanged = false;
      let after = 0;
      const hammering = wires.map(async (wire) => {
        for (let i = 0; i < 400; i++) {
          // What is sent after the change was answered must not go out with the credential.
          const path = isChanged ? "/after" : "/before";
          wire.send(`GET ${path} HTTP/1.1\r\nHost: ${api}\r\n\r\n`);
          if ((await wire.answerOrEnd()) === undefined) return;
          if (path === "/after" && ++after >= 24) return;
        }
      });
      while (stage.secure.heads.length < 50) await new Promise((resolve) => setTimeout(resolve, 5));
      await change(agent);
      isChanged = true;
      await Promise.all(hammering);
      for (const wire of wires) wire.close();
      await stage.credentials({ UPSTREAM_TOKEN: secret });
      expect(stage.secure.heads.length).toBeGreaterThanOrEqual(50);
      expect(stage.secure.heads.filter((head) => head.startsWith("GET /after"))).toEqual([]);
    },
  );

  it.each(changes)("get nothing when it comes while the upstream is being dialled: $name", async ({ change }) => {
    const agent = `waiter-${Math.random().toString(36).slice(2, 8)}`;
    const token = await newAgent(stage, agent);
    await using gate = await Gate.before(stage.secure.port);
    const authority = `${hosts.api}:${gate.port}`;
    await stage.services([bearerService(authority)]);
    using wire = await stage.tunnel({ token, authority });
    wire.send(`GET /waiting HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await gate.knocked;
    await change(agent);
    gate.open();
    const answer = await wire.answerOrEnd();
    await stage.credentials({ UPSTREAM_TOKEN: secret });
    if (answer !== undefined) expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(stage.secure.received.join("")).not.toContain(secret);
  });
});
