import { describe, expect, it } from "vitest";
import { formatSlot, parseSlots, readSlot } from "../../../src/domain/proposals/slot.ts";

const set = (slot: object) => ({ action: "set", key: "TOK", ...slot });
const oauth = (config: object) => set({ type: "oauth", oauth: { token_url: "https://idp.example.com/t", ...config } });

describe("credential slots", () => {
  it("keep the value apart from what is shown", () => {
    const { slots, values } = parseSlots([set({ value: "sk_live_1", description: "Key" })]);
    expect(slots.map(formatSlot)).toEqual([{ action: "set", key: "TOK", description: "Key", has_value: true }]);
    expect(JSON.stringify(slots)).not.toContain("sk_live_1");
    expect(values.get("TOK")?.reveal()).toBe("sk_live_1");
  });

  it("read back what they wrote", () => {
    const { slots } = parseSlots(
      [
        set({ value: "v", obtain: "https://e.com/keys", obtain_instructions: "make\none" }),
        oauth({ authorization_url: "https://idp.example.com/a", client_id: "c", scopes: "a b", disable_pkce: true }),
        { action: "delete", key: "OLD" },
      ].map((slot, index) => ({ ...slot, key: `K${index}` })),
    );
    expect(slots.map((slot) => readSlot(JSON.parse(JSON.stringify(formatSlot(slot)))))).toEqual(slots);
  });

  it("do not believe an agent that says a value is stored", () => {
    const { slots, values } = parseSlots([set({ has_value: true })]);
    expect(slots).toEqual([{ action: "set", key: "TOK", hasValue: false }]);
    expect(values.size).toBe(0);
  });

  it("take an empty value for none", () => {
    expect(parseSlots([set({ value: "" })]).slots).toEqual([{ action: "set", key: "TOK", hasValue: false }]);
  });

  it.each([
    { slot: set({ action: "add" }), says: /invalid action "add"/ },
    { slot: { action: "set" }, says: /key is required/ },
    { slot: set({ key: "tok" }), says: /UPPER_SNAKE_CASE/ },
    { slot: set({ type: "dynamic" }), says: /unsupported type "dynamic"/ },
    { slot: set({ description: "x".repeat(501) }), says: /description too long \(max 500 characters\)/ },
    { slot: set({ obtain_instructions: "x".repeat(1001) }), says: /obtain_instructions too long/ },
    { slot: set({ obtain: "ask bob" }), says: /obtain must be a valid/ },
    { slot: set({ obtain: "javascript:alert(1)" }), says: /obtain must be a valid/ },
    { slot: set({ obtain: "https://github.com@evil.example/" }), says: /obtain must be a valid/ },
    { slot: set({ obtain: "https://a.example/\nhttps://b.example" }), says: /obtain must be a valid/ },
    { slot: set({ obtain: "https:\\\\evil.example" }), says: /obtain must be a valid/ },
    { slot: set({ type: "oauth" }), says: /"oauth" config is required/ },
    { slot: oauth({ token_url: "" }), says: /oauth.token_url is required/ },
    { slot: oauth({ token_url: "ftp://x" }), says: /oauth.token_url must be an https/ },
    { slot: oauth({ authorization_url: "x" }), says: /oauth.authorization_url must be/ },
    { slot: oauth({ token_auth_method: "none" }), says: /token_auth_method must be/ },
    { slot: { ...oauth({}), value: "v" }, says: /"value" must not be set for oauth/ },
    { slot: { action: "delete", key: "OLD", value: "x" }, says: /"value" must not be set where/ },
    { slot: set({ value: 7 }), says: /"value" must be a string/ },
  ])("refuse $slot", ({ slot, says }) => {
    expect(() => parseSlots([slot])).toThrow(says);
  });

  it("refuse a key twice, and an eleventh slot", () => {
    expect(() => parseSlots([set({}), set({})])).toThrow(/duplicate/);
    expect(() => parseSlots(Array.from({ length: 11 }, (_, i) => set({ key: `K${i}` })))).toThrow(/max 10/);
  });

  it("show no control characters that an agent put into a description, and stay readable in the database", () => {
    const { slots } = parseSlots([
      set({ description: "\u001b[2J".padEnd(500, "\u001b"), obtain_instructions: "a\r\nb" }),
    ]);
    const wire = formatSlot(slots[0] ?? { action: "delete", key: "X" });
    expect(JSON.stringify(wire)).not.toContain("\\u001b");
    expect(wire.obtain_instructions).toBe("a\nb");
    expect(readSlot(wire)).toEqual(slots[0]);
  });
});
