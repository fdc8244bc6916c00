import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { expectRefusal, metadata } from "../support/inside.ts";
import { hosts, Refused, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "a service on the broker's machine or in its network, by any spelling of its address" });

/** Every one of them is, or may become, 127.0.0.1 or this machine. */
const loopback = [
  "127.0.0.1",
  "127.0.0.2",
  "127.255.255.254",
  "127.1",
  "127.0.1",
  "2130706433",
  "017700000001",
  "0177.0.0.1",
  "0x7f000001",
  "0x7f.0.0.1",
  "0x7f.1",
  "0",
  "0.0.0.0",
  "0.0.0.1",
  "00.0.0.0",
  "0x0",
  "[::]",
  "[::1]",
  "[0:0:0:0:0:0:0:0]",
  "[0:0:0:0:0:0:0:1]",
  "[0000:0000:0000:0000:0000:0000:0000:0001]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::FFFF:7F00:0001]",
  "[::ffff:0.0.0.0]",
  "[::127.0.0.1]",
  "[::ffff:0:127.0.0.1]",
  "[64:ff9b::127.0.0.1]",
  "[64:ff9b::7f00:1]",
  "[64:ff9b:1::7f00:1]",
  "[2002:7f00:1::]",
  "[2001:0:7f00:1::]",
  "localhost",
  "LOCALHOST",
  hosts.api,
];

/** Addresses with a meaning of their own (IANA special-purpose registries), and where clouds keep their secrets. */
const special = [
  "10.0.0.1",
  "100.64.0.1",
  "169.254.1.1",
  "172.16.0.1",
  "192.0.0.1",
  "192.0.2.1",
  "192.88.99.1",
  "192.168.0.1",
  "198.18.0.1",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "240.0.0.1",
  "255.255.255.255",
  "[fc00::1]",
  "[fe80::1]",
  "[fec0::1]",
  "[ff02::1]",
  "[100::1]",
  "[2001:db8::1]",
  "[64:ff9b::a00:1]",
  "[2002:a00:1::]",
];

describe("an agent that aims at addresses inside", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage({ env: { AGENT_VAULT_NETWORK_ALLOWLIST: "" } });
  });

  beforeEach(() => stage.plain.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each(loopback)("does not reach a local service as %s", async (host) => {
    const answer = await stage.askPlain("/", { authority: `${host}:${stage.plain.port}` });
    expectRefusal(answer.status);
    expect(stage.plain.received).toEqual([]);
  });

  it.each(loopback)("does not reach one through a tunnel as %s", async (host) => {
    expectRefusal(await throughTunnel(stage, `${host}:${stage.secure.port}`));
    expect(stage.secure.received).toEqual([]);
  });

  it.each([...special, ...metadata])("is refused %s at once", async (host) => {
    const answer = await stage.askPlain("/", { authority: `${host}:80` });
    expectRefusal(answer.status);
    expect(answer.body).not.toContain("timeout");
  });

  it("is told why, in a word that it can act on", async () => {
    const answer = await stage.askPlain("/", { authority: `127.0.0.1:${stage.plain.port}` });
    expect(JSON.parse(answer.body)).toMatchObject({ error: "blocked_by_network_policy" });
    expect(answer.values("x-agent-vault-proxy-error")).toEqual(["true"]);
  });
});

it("never makes the credential leave for an address: services have names", async () => {
  await using stage = await setStage();
  const service = { name: "by-address", host: "127.0.0.1", auth: { type: "bearer", token: "UPSTREAM_TOKEN" } };
  await expect(stage.services([service])).rejects.toThrow("400");
  await stage.askPlain("/", { authority: `127.0.0.1:${stage.plain.port}` });
  expect(stage.plain.received.join()).not.toContain(secret);
});

/** The status of the refusal, at CONNECT or at the request inside. */
async function throughTunnel(stage: Stage, authority: string): Promise<number> {
  try {
    const bare = authority.slice(0, authority.lastIndexOf(":")).replace(/^\[|\]$/g, "");
    using wire = await stage.tunnel({ authority, servername: /[a-z]\./i.test(bare) ? bare : null });
    wire.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    return (await wire.answer()).status;
  } catch (error) {
    if (error instanceof Refused) return error.status;
    throw error;
  }
}
