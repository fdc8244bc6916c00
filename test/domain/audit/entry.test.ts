import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type AuditRow, encodeFields, genesisHash, hashedColumns, hashOf } from "../../../src/domain/audit/entry.ts";

const row: AuditRow = {
  id: 1,
  created_at: "2026-01-31T12:00:00.000Z",
  actor_type: "user",
  actor_id: "u1",
  actor_name: "ada@example.com",
  session_id: "s1",
  client_ip: "127.0.0.1",
  action: "vault.rename",
  target_type: "vault",
  target_id: "v1",
  target_name: "bücher",
  vault_id: "v1",
  before: '{"name":"old"}',
  after: null,
  previous_hash: genesisHash,
  hash: "",
};

describe("the bytes of an entry", () => {
  it("are those that docs/audit.md gives as its example", () => {
    // Written out by hand, so that a change of the encoding cannot change the expectation with it.
    const text = (value: string) => {
      const bytes = Buffer.from(value, "utf8");
      return Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
    };
    const bytes = Buffer.concat([
      text("agent-vault audit entry 1"),
      text("0".repeat(64)),
      text("1"),
      text("2026-01-31T12:00:00.000Z"),
      text("user"),
      text("u1"),
      text("ada@example.com"),
      text("s1"),
      text("127.0.0.1"),
      text("vault.rename"),
      text("vault"),
      text("v1"),
      text("bücher"),
      text("v1"),
      text('{"name":"old"}'),
      Buffer.from([0xff, 0xff, 0xff, 0xff]),
    ]);
    const expected = createHash("sha256").update(bytes).digest("hex");
    expect(hashOf(row)).toBe(expected);
    expect(expected).toBe("093968efd6b8fb2a4302237b676ee14d69ed21465e12022625bc05562f5f8db4");
  });

  it.each([...hashedColumns, "previous_hash"] as const)("change with %s", (column) => {
    const value = column === "id" ? 2 : `${row[column] ?? ""}x`;
    expect(hashOf({ ...row, [column]: value })).not.toBe(hashOf(row));
  });

  it.each([
    { one: ["ab", "c"], other: ["a", "bc"], because: "the border between two fields counts" },
    { one: [null], other: [""], because: "nothing is not the empty text" },
    { one: ["", "a"], other: ["a", ""], because: "empty fields keep their place" },
    { one: [null, "a"], other: ["a", null], because: "so do those that are null" },
  ])("differ for $one and $other: $because", ({ one, other }) => {
    expect(encodeFields(one).equals(encodeFields(other))).toBe(false);
  });
});
