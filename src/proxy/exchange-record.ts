import type { Scope } from "../domain/actors/scope.ts";
import type { JournalEntry, ScrubFinding } from "../domain/journal-entry.ts";
import type { CredentialKey } from "../domain/services/service.ts";
import type { AnswerScrubbing } from "./answer-scrubbing.ts";
import type { ProxyContext } from "./context.ts";

/** What an exchange leaves behind in the log and in the journal. Without a vault there is no journal to write to. */
export function recordExchange({ log, journal }: ProxyContext, scope: Scope | undefined, entry: JournalEntry): void {
  const { requestId, scrubbed } = entry;
  const vault = scope?.vaultName;
  const service = entry.matchedService === "" ? undefined : entry.matchedService;
  if (log.enabled("debug")) {
    log.debug("proxy_request", {
      requestId,
      vault,
      method: entry.method,
      scheme: entry.scheme,
      host: entry.host,
      path: entry.path,
      service,
      status: entry.status,
      code: entry.errorCode === "" ? undefined : entry.errorCode,
      latencyMs: entry.latencyMs,
    });
  }
  if (scrubbed !== undefined && scrubbed.found.length > 0) {
    const { found: credentialKeys, mode } = scrubbed;
    log.warn("credential_in_answer", { requestId, vault, service, credentialKeys, mode });
  }
  if (scope !== undefined) journal.record(entry);
}

/** Codes that the readers of the journal know by another name (spec of the proxy, section 22.1). */
export function journalCodeOf(code: string): string {
  return code === "forbidden" ? "no_match" : code;
}

/** What was found in an answer, and in the messages behind it; undefined when there is nothing to tell. */
export function findingOf(
  { plan, found: inAnswer, isBlind }: AnswerScrubbing,
  messages: { readonly found: ReadonlySet<CredentialKey> | undefined } | undefined,
): ScrubFinding | undefined {
  const found = messages?.found === undefined ? inAnswer : new Set([...inAnswer, ...messages.found]);
  return found.size === 0 && !isBlind ? undefined : { mode: plan.mode, found: [...found], isBlind };
}
