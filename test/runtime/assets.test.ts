import { describe, expect, it } from "vitest";
import { NotFound } from "../../src/errors.ts";
import { listAssets, readAssetText } from "../../src/runtime/assets.ts";

describe("assets from a checkout", () => {
  it("are listed below their folder, sorted, with forward slashes", () => {
    const listed = listAssets("src/runtime");
    expect(listed).toContain("assets.ts");
    expect(listed).toEqual([...listed].sort());
    expect(listAssets("src")).toContain("runtime/assets.ts");
  });

  it("are read by their path from the top", () => {
    expect(JSON.parse(readAssetText("package.json"))).toMatchObject({ name: "agent-vault" });
  });

  it("are none in a folder that was not built", () => {
    expect(listAssets("web/no-such-build")).toEqual([]);
  });

  it("name the file that is missing", () => {
    expect(() => readAssetText("catalog/no-such-service.json")).toThrow(NotFound);
    expect(() => readAssetText("catalog/no-such-service.json")).toThrow('"catalog/no-such-service.json"');
  });
});
