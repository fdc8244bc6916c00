import { beforeAll, expect, it } from "vitest";
import { Audit } from "../../../src/domain/audit/audit.ts";
import { type NetworkSettingsPatch, VaultNetworkSettings } from "../../../src/domain/vaults/network-settings.ts";
import { VaultWriter } from "../../../src/domain/vaults/vault-writer.ts";
import { formatIp } from "../../../src/net/address.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { TestAuthority } from "../../support/test-authority.ts";
import { buildVaultWorld, defaultVaultId } from "../../support/vault-world.ts";

let authority: TestAuthority;
beforeAll(async () => {
  authority = await TestAuthority.create();
});

describeEachDatabase("the networks of a vault", (open) => {
  async function world() {
    const here = await buildVaultWorld(await open());
    const writer = new VaultWriter(here);
    const mayOpen = (network: string) => network.startsWith("10.");
    const networks = new VaultNetworkSettings({ database: here.database, writer, audit: new Audit(here), mayOpen });
    const write = (patch: NetworkSettingsPatch) =>
      networks.write(here.owner, { id: defaultVaultId, name: "default" }, patch);
    return { ...here, networks, write };
  }

  it("are as the instance has them until they are set, and again when they are taken away", async () => {
    const { networks, write } = await world();
    const unset = { allowlist: undefined, upstreamCa: undefined };
    expect(await networks.read(defaultVaultId)).toEqual(unset);
    const patch = networks.check({ allowlist: [" 10.1.0.0/16", "10.2.0.1"], upstreamCa: authority.pem });
    await write(patch);
    const set = await networks.read(defaultVaultId);
    expect(set.allowlist).toEqual(["10.1.0.0/16", "10.2.0.1"]);
    expect(set.upstreamCa?.trim()).toBe(authority.pem.trim());
    await write({ allowlist: [] });
    expect(await networks.read(defaultVaultId)).toEqual({ ...set, allowlist: [] });
    await write({ allowlist: null, upstreamCa: null });
    expect(await networks.read(defaultVaultId)).toEqual(unset);
  });

  it("are in the picture that requests are decided from, of that vault alone", async () => {
    const { write, snapshots, vaults, owner } = await world();
    const other = await vaults.create(owner, "other");
    expect((await snapshots.load(defaultVaultId)).network).toEqual({ networks: undefined, roots: undefined });
    await write({ allowlist: ["10.1.0.0/16"], upstreamCa: authority.pem });
    const { network } = await snapshots.load(defaultVaultId);
    expect(network?.networks?.map(({ bytes, bits }) => `${formatIp(bytes)}/${bits}`)).toEqual(["10.1.0.0/16"]);
    expect(network?.roots).toBe(authority.pem);
    expect((await snapshots.load(other.id)).network).toEqual({ networks: undefined, roots: undefined });
  });

  it("open nothing when what is stored cannot be read", async () => {
    const { write, snapshots, database } = await world();
    for (const value of ["nonsense", "{}", '["10.0.0.0/99"]', '["10.0.0.0/8", 7]', '"10.0.0.0/8"']) {
      await write({ allowlist: ["10.1.0.0/16"] });
      await database.db
        .updateTable("vault_settings")
        .set({ value })
        .where("key", "=", "network_allowlist")
        .where("vault_id", "=", defaultVaultId)
        .execute();
      expect((await snapshots.load(defaultVaultId)).network?.networks).toEqual([]);
    }
  });

  it("are refused beyond what the instance offers, and when they are no networks", async () => {
    const { networks } = await world();
    const codeOf = (allowlist: readonly string[]) => {
      try {
        return networks.check({ allowlist });
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(codeOf(["10.1.0.0/16", "192.168.0.0/16"])).toBe("network_not_offered");
    expect(codeOf(["0.0.0.0/0"])).toBe("network_not_offered");
    for (const bad of ["10.1.0.0/33", "10.1", "", "localhost", "10.1.0.0/16/1"]) {
      expect(codeOf([bad])).toBe("invalid_network");
    }
    expect(codeOf(Array.from({ length: 257 }, (_, at) => `10.0.${at >> 8}.${at & 255}`))).toBe("invalid_network");
  });

  it("hold certificates and nothing else", async () => {
    const { networks } = await world();
    const { cert, key } = await authority.issue(["api.test"]);
    expect(networks.check({ upstreamCa: `Our root:\n${authority.pem}\nand more ${cert}` }).upstreamCa).toBe(
      `${authority.pem.trim()}\n${cert.trim()}\n`,
    );
    const broken = authority.pem.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA");
    for (const upstreamCa of ["root", key, `${authority.pem}${key}`, broken, authority.pem.repeat(200)]) {
      expect(() => networks.check({ upstreamCa })).toThrow(/upstream_ca/);
    }
  });
});
