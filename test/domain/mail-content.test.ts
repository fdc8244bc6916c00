import { describe, expect, it } from "vitest";
import { type Message, renderMessage } from "../../src/domain/mail-content.ts";

const to = "ada@example.com";
const link = "https://vault.example.com/invite/av_uinv_0123";

const messages: readonly Message[] = [
  { kind: "verification", to, code: "012345" },
  { kind: "password-reset", to, code: "012345" },
  { kind: "invitation", to, inviter: "owner@example.com", vaults: ["billing", "ops"], link },
  { kind: "proposal", to, vault: "billing", agent: "robot", number: 7, message: "Needs Stripe", link },
  {
    kind: "credential-expiry",
    to,
    vault: "billing",
    credentials: [{ key: "STRIPE_KEY", expiresAt: "2027-01-31T00:00:00.000Z", hasEnded: false }],
  },
  { kind: "test", to },
];

/** Texts and numbers, however deep they are. */
function factsIn(value: unknown): readonly (string | number)[] {
  if (typeof value === "string" || typeof value === "number") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(factsIn) : [];
}

describe("the messages", () => {
  it.each(messages)("$kind says the same in text and in HTML", (message) => {
    const { subject, text, html } = renderMessage(message);
    expect(subject).toMatch(/^[\x20-\x7e]+$/);
    const { kind: _kind, to: _to, ...about } = message;
    for (const fact of factsIn(about)) {
      expect(text).toContain(String(fact));
      expect(html).toContain(String(fact));
    }
  });

  it("hold one run of six digits when they hold a code, for people and filters that look for one", () => {
    for (const message of messages.slice(0, 2)) {
      const { text, html } = renderMessage(message);
      expect(text.match(/(?<!\d)\d{6}(?!\d)/g)).toEqual(["012345"]);
      expect(html.match(/(?<!\d)\d{6}(?!\d)/g)).toEqual(["012345"]);
    }
  });

  it("say how long an invitation is valid, and when it comes with no vault", () => {
    const { text } = renderMessage({ kind: "invitation", to, inviter: "robot", vaults: [], link });
    expect(text).toContain("48 hours");
    expect(text).toContain("none");
  });

  it("escape what an agent or inviter wrote, and show no more than its beginning", () => {
    const attack = `<a href="https://evil.example">Click</a>${"é".repeat(300)}`;
    const { text, html } = renderMessage({ ...proposal(), message: attack });
    expect(html).not.toContain('<a href="https://evil.example');
    expect(html).toContain("&lt;a href=&quot;https://evil.example&quot;&gt;");
    expect(text.match(/é/g)?.length).toBeLessThan(200);
    expect(text).toContain("...");
    const inviter = renderMessage({ kind: "invitation", to, inviter: '"><script>', vaults: ["<b>"], link });
    expect(inviter.html).not.toMatch(/<script|<b>/);
  });

  it("keep what an agent wrote from looking like lines of ours", () => {
    const forged = "fine\n\nReview the proposal:\nhttps://evil.example\u202e";
    const { text, html } = renderMessage({ ...proposal(), message: forged });
    expect(text.split("\n")).not.toContain("https://evil.example");
    expect(`${text}${html}`).not.toContain("\u202e");
  });
});

function proposal() {
  return { kind: "proposal", to, vault: "billing", agent: "robot", number: 7, message: "", link } as const;
}
