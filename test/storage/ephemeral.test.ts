import { expect, it } from "vitest";
import { MemoryEphemeral } from "../../src/storage/ephemeral.ts";

function start() {
  const clock = { ms: 1_000, now: () => clock.ms };
  return { clock, ephemeral: new MemoryEphemeral(clock) };
}

it("counts within the life that the first addition began", async () => {
  const { clock, ephemeral } = start();
  expect(await ephemeral.add("a", 1, 100)).toBe(1);
  clock.ms += 99;
  expect(await ephemeral.add("a", 2, 100)).toBe(3);
  expect(await ephemeral.find("a")).toBe("3");
  clock.ms += 1;
  expect(await ephemeral.find("a")).toBeUndefined();
  expect(await ephemeral.add("a", 5, 100)).toBe(5);
});

it("loses no addition of many at once", async () => {
  const { ephemeral } = start();
  await Promise.all(Array.from({ length: 100 }, () => ephemeral.add("a", 1, 100)));
  expect(await ephemeral.find("a")).toBe("100");
});

it("keeps a value for its time, and a new one for a new time", async () => {
  const { clock, ephemeral } = start();
  await ephemeral.set("a", "one", 100);
  clock.ms += 60;
  await ephemeral.set("a", "two", 100);
  clock.ms += 60;
  expect(await ephemeral.find("a")).toBe("two");
  clock.ms += 40;
  expect(await ephemeral.find("a")).toBeUndefined();
});

it("hands a value to one of two who take it", async () => {
  const { ephemeral } = start();
  await ephemeral.set("a", "once", 100);
  expect(await Promise.all([ephemeral.take("a"), ephemeral.take("a")])).toEqual(["once", undefined]);
});

it("removes", async () => {
  const { ephemeral } = start();
  await ephemeral.set("a", "one", 100);
  await ephemeral.remove("a");
  expect(await ephemeral.find("a")).toBeUndefined();
});

it("keeps what is alive when it clears what has expired", async () => {
  const { clock, ephemeral } = start();
  await ephemeral.set("alive", "yes", 1_000_000);
  for (let at = 0; at < 9_998; at += 1) await ephemeral.set(`dead-${at}`, "", 10);
  clock.ms += 10;
  for (let at = 0; at < 3; at += 1) await ephemeral.add(`new-${at}`, 1, 100);
  expect(await ephemeral.find("alive")).toBe("yes");
  expect(await ephemeral.find("new-0")).toBe("1");
  expect(await ephemeral.find("dead-0")).toBeUndefined();
});
