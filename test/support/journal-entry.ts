import type { JournalEntry } from "../../src/domain/journal-entry.ts";
import { defaultVaultId } from "./vault-world.ts";

let made = 0;

/** A request that went well, with an id of its own. */
export function journalEntry(change: Partial<JournalEntry> = {}): JournalEntry {
  made += 1;
  return {
    requestId: `r${made}`,
    vaultId: defaultVaultId,
    actorType: "user",
    actorId: "u1",
    sessionId: "s1",
    method: "GET",
    scheme: "https",
    host: "api.github.com:443",
    path: "/user",
    matchedService: "github",
    credentialKeys: ["TOK"],
    status: 200,
    errorCode: "",
    authScheme: "",
    authHeader: "",
    clientIp: "127.0.0.1",
    bytesIn: 10,
    bytesOut: 20,
    startedAtMs: Date.parse("2026-01-31T12:00:00.250Z"),
    latencyMs: 12.4,
    upstreamMs: 9.6,
    ...change,
  };
}
