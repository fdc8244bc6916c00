import { expect, it } from "vitest";
import { formatService } from "../../../src/domain/services/definition.ts";
import { tagOf } from "../../../src/domain/services/services.ts";
import { Conflict, InvalidInput, NotFound, PreconditionFailed } from "../../../src/errors.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { buildVaultWorld, type VaultWorld, defaultVaultId as vault } from "../../support/vault-world.ts";

const bearer = { type: "bearer", token: "TOK" };
const entry = (name: string, host = `${name}.example.com`) => ({ name, host, auth: bearer });

async function names({ services }: VaultWorld): Promise<readonly string[]> {
  return (await services.list(vault)).map(({ name }) => name);
}

describeEachDatabase("services of a vault", (open) => {
  async function world(): Promise<VaultWorld> {
    return buildVaultWorld(await open());
  }

  it("are appended in order and replaced in place", async () => {
    const here = await world();
    await here.services.upsert(here.owner, vault, [entry("one"), entry("two")]);
    const { names: upserted, count } = await here.services.upsert(here.owner, vault, [
      entry("three"),
      entry("one", "new.example.com"),
    ]);
    expect({ upserted, count }).toEqual({ upserted: ["three", "one"], count: 3 });
    expect(await names(here)).toEqual(["one", "two", "three"]);
    expect((await here.services.list(vault))[0]?.pattern.host).toBe("new.example.com");
  });

  it("lend their name to an entry without one that has the same pattern", async () => {
    const here = await world();
    await here.services.upsert(here.owner, vault, [entry("one"), entry("other", "one.example.com/v1/*")]);
    const { names: adopted } = await here.services.upsert(here.owner, vault, [
      { host: "ONE.example.com", auth: { type: "passthrough" } },
    ]);
    expect(adopted).toEqual(["one"]);
    await here.services.upsert(here.owner, vault, [entry("twin", "one.example.com")]);
    await expect(here.services.upsert(here.owner, vault, [{ host: "one.example.com", auth: bearer }])).rejects.toThrow(
      "Invalid services: service 0: name is required",
    );
  });

  it("are left as they were when one entry of several is wrong", async () => {
    const here = await world();
    await here.services.upsert(here.owner, vault, [entry("one")]);
    await expect(here.services.upsert(here.owner, vault, [entry("two"), entry("bad", "localhost")])).rejects.toThrow(
      InvalidInput,
    );
    await expect(here.services.replace(here.owner, vault, [entry("two"), entry("two")])).rejects.toThrow(
      "duplicate name",
    );
    expect(await names(here)).toEqual(["one"]);
  });

  it("keep what racing writers added", async () => {
    const here = await world();
    const writes = Array.from({ length: 8 }, (_, index) =>
      here.services.upsert(here.owner, vault, [entry(`race-${index}`)]),
    );
    await Promise.all(writes);
    expect([...(await names(here))].sort()).toEqual(Array.from({ length: 8 }, (_, index) => `race-${index}`));
  });

  it("are replaced as a whole, and only from the state that the caller saw when it says so", async () => {
    const here = await world();
    await here.services.upsert(here.owner, vault, [entry("one"), entry("two")]);
    const seen = tagOf(await here.services.list(vault));
    expect(await here.services.replace(here.owner, vault, [entry("two"), entry("three")], [seen])).toBe(2);
    await expect(here.services.replace(here.owner, vault, [], [seen])).rejects.toThrow(PreconditionFailed);
    expect(await names(here)).toEqual(["two", "three"]);
    expect(await here.services.replace(here.owner, vault, [])).toBe(0);
  });

  it("take more rows than one statement may have parameters", async () => {
    const here = await world();
    const many = Array.from({ length: 1_200 }, (_, index) => entry(`svc-${index}`));
    expect(await here.services.replace(here.owner, vault, many)).toBe(1_200);
    expect(await names(here)).toEqual(many.map(({ name }) => name));
  });

  it("are found by name, by bare host, and by the joined pattern", async () => {
    const here = await world();
    await here.services.upsert(here.owner, vault, [
      entry("two-svc", "two.example.com/v1/*"),
      entry("two-b", "two.example.com"),
      entry("wild", "*.x.io:8443"),
    ]);
    const enabled = async (reference: string) =>
      (await here.services.setEnabled(here.owner, vault, reference, { isEnabled: false })).name;
    expect(await enabled("two-b")).toBe("two-b");
    expect(await enabled("*.x.io")).toBe("wild");
    expect(await enabled("*.x.io:8443")).toBe("wild");
    expect(await enabled("two.example.com/v1/*")).toBe("two-svc");
    await expect(enabled("ghost")).rejects.toThrow(NotFound);
    const ambiguous = await enabled("two.example.com").catch((error: unknown) => error);
    expect(ambiguous).toBeInstanceOf(Conflict);
    expect(ambiguous).toMatchObject({
      details: {
        candidates: [
          { name: "two-svc", host: "two.example.com/v1/*" },
          { name: "two-b", host: "two.example.com" },
        ],
      },
    });
  });

  it("remember every field", async () => {
    const here = await world();
    const full = {
      name: "full",
      host: "*.example.com:8443/v1/*",
      enabled: false,
      auth: { type: "custom", headers: { "X-A": "v {{ KEY }}" } },
      substitutions: [{ key: "SUB", placeholder: "__sub__", in: ["body"] }],
      schemes: ["https", "http"],
      methods: ["GET"],
      scrub: "off",
      strip_headers: ["authorization"],
      set_cookie: "pass",
    };
    await here.services.upsert(here.owner, vault, [full]);
    expect((await here.services.list(vault)).map(formatService)).toEqual([full]);
    expect((await here.services.referencing(vault, "SUB")).items.map(({ name }) => name)).toEqual(["full"]);
    expect((await here.services.referencing(vault, "TOK")).items).toEqual([]);
  });

  it("go one by one or all at once", async () => {
    const here = await world();
    await here.services.upsert(here.owner, vault, [entry("one"), entry("two"), entry("three")]);
    const { removed, count } = await here.services.remove(here.owner, vault, "two");
    expect([removed.name, count]).toEqual(["two", 2]);
    await here.services.clear(here.owner, vault);
    expect(await names(here)).toEqual([]);
    await expect(here.services.remove(here.owner, vault, "one")).rejects.toThrow(NotFound);
  });

  it("cannot be written into a vault that is gone", async () => {
    const here = await world();
    const { id } = await here.vaults.create(here.owner, "gone-soon");
    await here.vaults.delete(here.owner, id);
    await expect(here.services.upsert(here.owner, id, [entry("one")])).rejects.toThrow();
    expect(await here.services.list(id)).toEqual([]);
  });
});
