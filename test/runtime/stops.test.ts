import { describe, expect, it } from "vitest";
import { type Logger, silentLogger } from "../../src/log.ts";
import { Stops } from "../../src/runtime/stops.ts";

describe("what has to be ended", () => {
  function logging() {
    const errors: unknown[] = [];
    const log: Logger = { ...silentLogger, error: (_event: string, fields?: object) => void errors.push(fields) };
    return { errors, stops: new Stops(log) };
  }

  it("ends in reverse order, one after the other, and once", async () => {
    const { stops, errors } = logging();
    const order: string[] = [];
    stops.push(() => void order.push("first"));
    stops.push(async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push("second");
    });
    await stops.run();
    await stops.run();
    expect(order).toEqual(["second", "first"]);
    expect(errors).toEqual([]);
  });

  it("leaves behind what never ends, and what fails, and tells", async () => {
    const { stops, errors } = logging();
    let isEnded = false;
    stops.push(() => {
      isEnded = true;
    });
    stops.push(() => Promise.reject(new Error("it broke")));
    stops.push(() => new Promise(() => undefined), { withinMs: 20 });
    await stops.run();
    expect(isEnded).toBe(true);
    expect(errors).toEqual([{ error: "it took longer than 0.02 s" }, { error: "it broke" }]);
  });

  it("does not mind what comes of somebody who was left behind", async () => {
    const { stops } = logging();
    const { promise, reject } = Promise.withResolvers<void>();
    stops.push(() => promise, { withinMs: 1 });
    await stops.run();
    // Would end the process if nobody had taken it.
    reject(new Error("too late"));
    await new Promise((resolve) => setTimeout(resolve, 5));
  });
});
