import { describe, expect, it } from "vitest";
import { answerHeaders, outgoingHeaders, sniffAuthentication } from "../../src/proxy/headers.ts";

const outgoing = (headers: string[], more: Partial<Parameters<typeof outgoingHeaders>[1]> = {}) =>
  outgoingHeaders(headers, {
    host: "a.test",
    injected: [],
    stripped: undefined,
    isChunked: false,
    upgrades: false,
    ...more,
  });

describe("headers on their way upstream", () => {
  it.each([
    {
      sent: ["host", "x", "X-A", "1", "x-a", "2"],
      arrive: ["host", "a.test", "X-A", "1", "x-a", "2"],
      because: "order, case and repetition stay",
    },
    { sent: ["X-A", "1"], arrive: ["Host", "a.test", "X-A", "1"], because: "HTTP/1.0 may lack a Host" },
    {
      sent: ["Host", "x", "Connection", "X-A, close", "X-A", "s"],
      arrive: ["Host", "a.test"],
      because: "nominated headers are for us",
    },
    {
      sent: ["Host", "x", "Connection", "x_a", "X-A", "s"],
      arrive: ["Host", "a.test"],
      because: "an underscore is a hyphen to many",
    },
    {
      sent: ["Host", "x", "Connection", "Content-Length, Host", "Content-Length", "3"],
      arrive: ["Host", "a.test", "Content-Length", "3"],
      because: "framing cannot be nominated away",
    },
    {
      sent: ["Host", "x", "Content_Length", "3", "Transfer_Encoding", "chunked"],
      arrive: ["Host", "a.test"],
      because: "a hidden framing smuggles",
    },
    {
      sent: ["Host", "x", "Proxy-Authorization", "t", "proxy_authorization", "t", "X-Vault", "v", "X_Vault", "v"],
      arrive: ["Host", "a.test"],
      because: "these are between agent and broker",
    },
    {
      sent: [
        "Host",
        "x",
        "Upgrade",
        "h2c",
        "TE",
        "gzip;q=0.5, x-trailers",
        "Keep-Alive",
        "1",
        "Proxy-Connection",
        "k",
        "Trailer",
        "X",
      ],
      arrive: ["Host", "a.test"],
      because: "they are hop-by-hop",
    },
    {
      sent: ["Host", "x", "te", "gzip, Trailers", "TE", "trailers", "Connection", "TE"],
      arrive: ["Host", "a.test", "TE", "trailers", "Connection", "TE"],
      because: "trailers are relayed, codings of this hop are not (RFC 9110, section 10.1.4)",
    },
    {
      sent: ["Host", "x", "X-Forwarded-For", "1", "Cookie", "c", "Via", "v"],
      arrive: ["Host", "a.test", "X-Forwarded-For", "1", "Cookie", "c", "Via", "v"],
      because: "the rest is not ours to change",
    },
  ])("$sent: $because", ({ sent, arrive }) => {
    expect(outgoing(sent)).toEqual(arrive);
  });

  it("name both in Connection when an upgrade comes from an agent that takes trailers", () => {
    expect(outgoing(["Host", "x", "TE", "trailers"], { upgrades: true })).toEqual([
      "Host",
      "a.test",
      "TE",
      "trailers",
      "Upgrade",
      "websocket",
      "Connection",
      "Upgrade, TE",
    ]);
    expect(outgoing(["Host", "x", "TE", "trailers"], { stripped: new Set(["te"]) })).toEqual(["Host", "a.test"]);
  });

  it("hold an injected header once, in the place of the agent's, also when it was nominated in Connection", () => {
    const injected = [{ name: "X-Api-Key", value: "real" }];
    const sent = ["Host", "x", "Connection", "x-api-key", "x_api_key", "1", "X-B", "b", "X-API-KEY", "2"];
    expect(outgoing(sent, { injected })).toEqual(["Host", "a.test", "X-Api-Key", "real", "X-B", "b"]);
    expect(outgoing(["Host", "x"], { injected })).toEqual(["Host", "a.test", "X-Api-Key", "real"]);
  });

  it.each(["X_Api_Key", "X.Api.Key", "x~api|key", "X-Api_Key"])(
    "hold one value for a credential, however %s spells its name",
    (name) => {
      const injected = [{ name: "X-Api-Key", value: "secret" }];
      expect(outgoing([name, "forged"], { injected })).toEqual(["Host", "a.test", "X-Api-Key", "secret"]);
    },
  );

  it.each(["Content_Length", "Content.Length", "Transfer.Encoding"])("do not hold %s", (name) => {
    expect(outgoing([name, "chunked"], { isChunked: false })).toEqual(["Host", "a.test"]);
  });

  it("cannot be framed or routed by an injected header", () => {
    const injected = ["Host", "Content-Length", "Transfer-Encoding", "Trailer"].map((name) => ({ name, value: "9" }));
    expect(outgoing(["Host", "x", "Content-Length", "3"], { injected })).toEqual([
      "Host",
      "a.test",
      "Content-Length",
      "3",
    ]);
  });
});

describe("headers on their way back", () => {
  const rules = { stripsCookies: false, isChunked: false, dropsLength: false, connection: undefined } as const;

  it("lose what is hop-by-hop, nominated, or would speak for the broker or lead past it", () => {
    const sent = [
      "Connection",
      "x-hop",
      "X-Hop",
      "1",
      "Alt-Svc",
      "h3",
      "X-Agent-Vault-Proxy-Error",
      "true",
      "X_Agent_Vault_Error_Code",
      "c",
      "Set-Cookie",
      "s",
      "ETag",
      "e",
    ];
    expect(answerHeaders(sent, rules)).toEqual(["Set-Cookie", "s", "ETag", "e"]);
    expect(answerHeaders(sent, { ...rules, stripsCookies: true })).toEqual(["ETag", "e"]);
  });
});

describe("how an agent authenticates by itself", () => {
  it.each([
    [["authorization", "bearer x"], "bearer", "Authorization"],
    [["Authorization", "Basic x"], "basic", "Authorization"],
    [["Authorization", "token x"], "api-key", "Authorization"],
    [["Api-Key", "x", "X-Api-Key", "y"], "api-key", "X-Api-Key"],
    [["Accept", "x"], "", ""],
  ])("%j is %s in %s", (headers, scheme, header) => {
    expect(sniffAuthentication(headers)).toEqual({ scheme, header });
  });
});
