import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Artifacts } from "../../src/storage/artifacts.ts";

describe("artifacts", () => {
  let folder = "";
  beforeEach(async () => {
    folder = join(await mkdtemp(join(tmpdir(), "agent-vault-artifacts-")), "not-there-yet");
  });
  afterEach(() => rm(join(folder, ".."), { recursive: true, force: true }));

  it("keep texts as they are, JSON included, where others find them", async () => {
    const artifacts = await Artifacts.open(folder);
    expect(await artifacts.list("a/b")).toEqual([]);
    expect(await artifacts.find("a/b/1.json")).toBeUndefined();
    const text = '{"id": 1.0}\n';
    await artifacts.write("a/b/1.json", text);
    expect(await artifacts.find("a/b/1.json")).toBe(text);
    expect(await readFile(join(folder, "a", "b", "1.json"), "utf8")).toBe(text);
    await artifacts.write("a/b/1.json", "other");
    expect(await (await Artifacts.open(folder)).find("a/b/1.json")).toBe("other");
  });

  it("are listed in order, below one folder, until they are removed", async () => {
    const artifacts = await Artifacts.open(folder);
    for (const key of ["a/10", "a/02", "b/01"]) await artifacts.write(key, key);
    expect(await artifacts.list("a")).toEqual(["a/02", "a/10"]);
    await artifacts.remove("a/02");
    expect(await artifacts.list("a")).toEqual(["a/10"]);
  });

  it("stay in their folder", async () => {
    const artifacts = await Artifacts.open(folder);
    await artifacts.write("../outside", "x").catch(() => undefined);
    await expect(readFile(join(folder, "..", "outside"), "utf8")).rejects.toThrow("ENOENT");
  });
});
