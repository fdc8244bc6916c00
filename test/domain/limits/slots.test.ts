import { describe, expect, it } from "vitest";
import { Slots } from "../../../src/domain/limits/slots.ts";

describe("slots", () => {
  it("pass from whoever leaves to whoever waits, and time out otherwise", async () => {
    const slots = new Slots({ concurrency: 1, waitMs: 60_000 });
    const leave = await slots.enter("a");
    const waiting = slots.enter("a");
    expect(await slots.enter("b")).toBeDefined();
    leave?.();
    leave?.();
    const second = await waiting;
    expect(second).toBeDefined();
    slots.settings = { concurrency: 1, waitMs: 1 };
    expect(await slots.enter("a")).toBeUndefined();
    second?.();
    expect(await slots.enter("a")).toBeDefined();
  });
});
