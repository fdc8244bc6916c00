import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { startBinaryServer } from "../support/binary.ts";

const environmentOf = (pid: number) => readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");

it("runs the server with an allocator that keeps freed memory for a while", async () => {
  await using server = await startBinaryServer();
  expect(environmentOf(server.pid)).toContain("MIMALLOC_PURGE_DELAY=10000");
});

it("leaves the allocator to whoever has set it", async () => {
  await using server = await startBinaryServer({ env: { MIMALLOC_PURGE_DELAY: "20" } });
  expect(environmentOf(server.pid)).toContain("MIMALLOC_PURGE_DELAY=20");
  expect(environmentOf(server.pid)).not.toContain("MIMALLOC_PURGE_DELAY=10000");
});

it("starts with options for the runtime in the environment", async () => {
  await using server = await startBinaryServer({ env: { BUN_OPTIONS: "--smol" } });
  expect(environmentOf(server.pid)).toContain("MIMALLOC_PURGE_DELAY=10000");
});
