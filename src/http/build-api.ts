/** Puts the routes together with what they need: the list of everything that the API answers. */
import type { ServerConfig } from "../config.ts";
import type { Domain } from "../domain/domain.ts";
import type { CatalogTemplate } from "../domain/services/catalog.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Database } from "../storage/database.ts";
import { ApiApp } from "./app.ts";
import { SessionCookie, SetupCookie } from "./authenticate.ts";
import { HostCheck } from "./host-check.ts";
import { ApiRouter } from "./router.ts";
import { registerAccountRoutes } from "./routes/account.ts";
import { registerAgentInviteRoutes } from "./routes/agent-invites.ts";
import { registerAgentRoutes } from "./routes/agents.ts";
import { registerAuditRoutes } from "./routes/audit.ts";
import { registerAuthorityRoutes } from "./routes/authority.ts";
import { registerCatalogRoutes } from "./routes/catalog.ts";
import { registerCredentialStoreRoutes } from "./routes/credential-stores.ts";
import { registerCredentialRoutes } from "./routes/credentials.ts";
import { registerDiscoveryRoutes } from "./routes/discovery.ts";
import { type HealthDependencies, registerHealthRoutes } from "./routes/health.ts";
import { registerInviteRoutes } from "./routes/invites.ts";
import { registerJournalRoutes } from "./routes/journal.ts";
import { registerMetricsRoute } from "./routes/metrics.ts";
import { registerOAuthRoutes } from "./routes/oauth.ts";
import { registerProposalPageRoutes } from "./routes/proposal-page.ts";
import { registerProposalWebhookRoutes } from "./routes/proposal-webhook.ts";
import { registerProposalRoutes } from "./routes/proposals.ts";
import { registerReferenceRoutes } from "./routes/reference.ts";
import { registerServiceRoutes } from "./routes/services.ts";
import { registerSessionRoutes } from "./routes/sessions.ts";
import { registerSettingsRoutes } from "./routes/settings.ts";
import { registerSetupRoutes } from "./routes/setup.ts";
import { registerUserRoutes } from "./routes/users.ts";
import { registerVaultMemberRoutes } from "./routes/vault-members.ts";
import { registerVaultRoutes } from "./routes/vaults.ts";

export interface ApiOptions {
  readonly database: Database;
  readonly domain: Domain;
  readonly config: ServerConfig;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly catalog: readonly CatalogTemplate[];
  /** The instructions for agents, as Markdown. */
  readonly skill: string | undefined;
  readonly proxyAuthority: HealthDependencies["proxyAuthority"];
}

export function buildApi({
  database,
  domain,
  config,
  log,
  metrics,
  catalog,
  skill,
  proxyAuthority,
}: ApiOptions): ApiApp {
  const router = new ApiRouter();
  const { baseUrl } = config;
  const cookie = new SessionCookie({ baseUrl });
  const setupCookie = new SetupCookie({ baseUrl });
  registerHealthRoutes(router, {
    ...domain,
    database,
    log,
    explicitBaseUrl: config.isBaseUrlExplicit ? baseUrl : undefined,
    proxyAuthority,
  });
  registerAuthorityRoutes(router, domain);
  registerMetricsRoute(router, { ...domain, metrics, metricsToken: config.metricsToken?.reveal() });
  registerAccountRoutes(router, { ...domain, cookie, setupCookie });
  registerSetupRoutes(router, { ...domain, setupCookie });
  registerSessionRoutes(router, { ...domain, baseUrl });
  registerUserRoutes(router, domain);
  registerInviteRoutes(router, domain);
  registerAgentRoutes(router, domain);
  registerAgentInviteRoutes(router, { ...domain, baseUrl });
  registerAuditRoutes(router, domain);
  registerSettingsRoutes(router, domain);
  registerVaultRoutes(router, domain);
  registerVaultMemberRoutes(router, domain);
  registerServiceRoutes(router, domain);
  registerCredentialRoutes(router, domain);
  registerOAuthRoutes(router, { ...domain, baseUrl, cookie });
  registerCredentialStoreRoutes(router, domain);
  registerDiscoveryRoutes(router, { ...domain, catalog });
  registerProposalPageRoutes(router, { ...domain, cookie });
  registerProposalRoutes(router, domain);
  registerProposalWebhookRoutes(router, domain);
  registerJournalRoutes(router, domain);
  registerCatalogRoutes(router, { catalog, skill });
  registerReferenceRoutes(router);
  const app = new ApiApp({
    router,
    sessions: domain.sessions,
    accounts: domain.accounts,
    limits: domain.limits,
    baseUrl,
    trustedProxies: config.trustedProxies,
    hostCheck: new HostCheck({ boundHost: config.host, baseUrl, trustedProxies: config.trustedProxies }),
    cookie,
    log,
  });
  metrics.add("counter", "agent_vault_api_requests_total", "Requests to the API.", () => app.answered.samples());
  return app;
}
