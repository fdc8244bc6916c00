/** What anybody may know: health, status, and the certificate that clients must trust. */
import type { Accounts } from "../../domain/actors/account.ts";
import type { Settings } from "../../domain/settings.ts";
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import { buildInfo } from "../../runtime/build-info.ts";
import type { Database } from "../../storage/database.ts";
import { json, text } from "../answer.ts";
import { certificate, health, status, version } from "../contracts/instance.ts";
import type { ApiRouter } from "../router.ts";

const pingTimeoutMs = 2_000;

export interface ProxyAuthority {
  readonly pem: string;
  /** 0 where it listens on a Unix socket alone. */
  readonly port: number;
  /** Does the port take TLS? */
  readonly hasTls: boolean;
}

export interface HealthDependencies {
  readonly database: Database;
  readonly accounts: Accounts;
  readonly settings: Settings;
  readonly log: Logger;
  /** Told to clients only when the operator named it. */
  readonly explicitBaseUrl: string | undefined;
  /** The running proxy's root certificate and where it listens; undefined while there is no proxy. */
  readonly proxyAuthority: () => ProxyAuthority | undefined;
}

export function registerHealthRoutes(router: ApiRouter, dependencies: HealthDependencies): void {
  const { database, accounts, settings, log } = dependencies;

  router.on(health, async () => {
    try {
      await within(pingTimeoutMs, database.ping());
      return json({ status: "ok" });
    } catch (error) {
      log.warn("the database does not answer", { error: messageOf(error) });
      return json({ status: "unhealthy", error: "database unreachable" }, { status: 503 });
    }
  });

  router.on(status, async () => {
    const [isInitialized, { allowedEmailDomains, isInviteOnly }] = await Promise.all([
      accounts.isInitialized(),
      settings.read(),
    ]);
    return json({
      initialized: isInitialized,
      needs_first_user: !isInitialized,
      ...(dependencies.explicitBaseUrl !== undefined && { base_url: dependencies.explicitBaseUrl }),
      ...(allowedEmailDomains.length > 0 && { allowed_email_domains: allowedEmailDomains }),
      ...(isInviteOnly && { invite_only: true }),
    });
  });

  // Only for those who have a token: to anybody else the version would say which holes to try.
  router.on(version, () => json({ version: buildInfo.version, commit: buildInfo.commit }));

  router.on(certificate, () => {
    const authority = dependencies.proxyAuthority();
    if (authority === undefined) return text("MITM proxy is not enabled on this server", { status: 404 });
    return new Response(authority.pem, {
      headers: {
        "content-type": "application/x-pem-file",
        "content-disposition": 'attachment; filename="agent-vault-ca.pem"',
        ...(authority.port > 0 && { "x-mitm-port": String(authority.port) }),
        ...(authority.hasTls && { "x-mitm-scheme": "https" }),
        ...(authority.port === 0 && { "x-mitm-scheme": "unix" }),
      },
    });
  });
}

async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
