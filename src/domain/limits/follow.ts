/** Keeps the limiters in step with what owners store, whichever process they told. */
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Settings } from "../settings.ts";
import { toStored } from "./stored.ts";
import type { Limits } from "./tiers.ts";

/**
 * Applies the stored limits now and after every change.
 * @returns what stops it.
 */
export async function followStoredLimits(options: {
  readonly settings: Settings;
  readonly limits: Limits;
  readonly changes: Changes;
  readonly log: Logger;
}): Promise<() => void> {
  const { settings, limits, changes, log } = options;
  const apply = async () => limits.configure(toStored((await settings.read()).rateLimit));
  await apply();
  return changes.watch((change) => {
    if (change.kind !== "settings" && change.kind !== "everything") return;
    apply().catch((error: unknown) => log.warn("cannot read the stored rate limits", { error: messageOf(error) }));
  });
}
