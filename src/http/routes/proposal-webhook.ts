/** The webhook that is told about the proposals of a vault. */
import type { Access } from "../../domain/actors/access.ts";
import type { WebhookInfo, Webhooks } from "../../domain/proposals/webhooks.ts";
import { json, secretJson, wireTime } from "../answer.ts";
import { Fields } from "../fields.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface ProposalWebhookDependencies {
  readonly access: Access;
  readonly webhooks: Webhooks;
}

const authed = { access: "session", tier: "authed" } as const;
const path = "/v1/vaults/{name}/proposal-webhook";

export function registerProposalWebhookRoutes(
  router: ApiRouter,
  { access, webhooks }: ProposalWebhookDependencies,
): void {
  const vaultOf = (request: ApiRequest) => access.vault(request.principal, request.params.name ?? "", "admin");

  router.on("GET", path, authed, async (request) => {
    const { vault } = await vaultOf(request);
    return json({ vault: vault.name, ...formatWebhook(await webhooks.get(vault.id)) });
  });

  router.on("PUT", path, { ...authed, body: true }, async (request) => {
    const { vault } = await vaultOf(request);
    const url = new Fields(await request.json()).string("url") ?? "";
    const secret = await webhooks.set(request.principal, vault.id, url);
    return secretJson({ vault: vault.name, ...formatWebhook(await webhooks.get(vault.id)), secret: secret.reveal() });
  });

  router.on("DELETE", path, authed, async (request) => {
    const { vault } = await vaultOf(request);
    await webhooks.remove(request.principal, vault.id);
    return json({ vault: vault.name, deleted: true });
  });
}

function formatWebhook({ origin, lastAttemptAt, lastResult, updatedAt }: WebhookInfo): object {
  return {
    origin,
    updated_at: wireTime(updatedAt),
    ...(lastAttemptAt !== undefined && { last_attempt_at: wireTime(lastAttemptAt) }),
    ...(lastResult !== undefined && { last_result: lastResult }),
  };
}
