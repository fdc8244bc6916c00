/** The webhook that is told about the proposals of a vault. */
import type { Access } from "../../domain/actors/access.ts";
import type { WebhookInfo, Webhooks } from "../../domain/proposals/webhooks.ts";
import { json, secretJson, wireTime } from "../answer.ts";
import { getWebhook, removeWebhook, setWebhook } from "../contracts/proposals.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface ProposalWebhookDependencies {
  readonly access: Access;
  readonly webhooks: Webhooks;
}

export function registerProposalWebhookRoutes(
  router: ApiRouter,
  { access, webhooks }: ProposalWebhookDependencies,
): void {
  const vaultOf = (request: ApiRequest<unknown, never, "name">) =>
    access.vault(request.principal, request.params.name, "admin");

  router.on(getWebhook, async (request) => {
    const { vault } = await vaultOf(request);
    return json({ vault: vault.name, ...formatWebhook(await webhooks.get(vault.id)) });
  });

  router.on(setWebhook, async (request) => {
    const { vault } = await vaultOf(request);
    const { url } = await request.body();
    const secret = await webhooks.set(request.principal, vault.id, url);
    return secretJson({ vault: vault.name, ...formatWebhook(await webhooks.get(vault.id)), secret: secret.reveal() });
  });

  router.on(removeWebhook, async (request) => {
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
