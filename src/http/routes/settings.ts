/** Instance settings, for owners (spec of accounts, 6.11). */
import type { Access } from "../../domain/actors/access.ts";
import { parseEmail } from "../../domain/actors/email.ts";
import {
  checkLimitPayload,
  checkUnlocked,
  formatLimits,
  type LimitPayload,
  type TierPayload,
  toStored,
} from "../../domain/limits/stored.ts";
import type { Limits } from "../../domain/limits/tiers.ts";
import type { Mail } from "../../domain/mail.ts";
import { parseEmailDomains, type Settings, type SettingsPatch } from "../../domain/settings.ts";
import { InvalidInput } from "../../errors.ts";
import { json } from "../answer.ts";
import { changeSettings, getSettings, previewLimits, testMail } from "../contracts/instance.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface SettingsDependencies {
  readonly access: Access;
  readonly settings: Settings;
  readonly limits: Limits;
  readonly mail: Mail;
}

export function registerSettingsRoutes(router: ApiRouter, dependencies: SettingsDependencies): void {
  const { access, settings, limits, mail } = dependencies;

  router.on(getSettings, async ({ principal }) => {
    access.owner(principal);
    return json(await describe(dependencies));
  });

  router.on(changeSettings, async (request) => {
    const owner = access.owner(request.principal);
    const body = await request.body();
    const isInviteOnly = body.invite_only;
    const domains = body.allowed_email_domains;
    const rateLimit = readLimitPayload(body.rate_limit);
    if (rateLimit !== undefined) {
      checkUnlocked(limits);
      checkLimitPayload(rateLimit, limits);
    }
    // Everything is checked before anything is written.
    const patch: SettingsPatch = {
      ...(isInviteOnly !== undefined && { isInviteOnly }),
      ...(domains !== undefined && { allowedEmailDomains: parseEmailDomains(domains) }),
      ...(rateLimit !== undefined && { rateLimit }),
    };
    await settings.write(owner, patch);
    if (rateLimit !== undefined) limits.configure(toStored(rateLimit));
    return json(await describe(dependencies));
  });

  router.on(previewLimits, async (request) => {
    access.owner(request.principal);
    checkUnlocked(limits);
    const payload = readLimitPayload(await request.body());
    return json(formatLimits(limits.preview(toStored(payload)), payload.profile));
  });

  router.on(testMail, async (request) => {
    const owner = access.owner(request.principal);
    mail.requireConfigured();
    const given = (await readRecipient(request)) || (owner.kind === "user" ? owner.email : "");
    if (given === "") throw new InvalidInput("missing_field", "An agent must name the recipient in to");
    const to = parseEmail(given);
    await mail.send({ kind: "test", to });
    return json({ message: "Test email sent", to });
  });
}

async function describe({ settings, limits, mail }: SettingsDependencies): Promise<object> {
  const { allowedEmailDomains, isInviteOnly, rateLimit } = await settings.read();
  return {
    allowed_email_domains: allowedEmailDomains,
    invite_only: isInviteOnly,
    smtp_configured: mail.isConfigured,
    rate_limit: formatLimits(limits.effective, rateLimit?.profile),
  };
}

type LimitBody = Awaited<ReturnType<NonNullable<typeof previewLimits.body>["parse"]>>;
type TierBody = NonNullable<LimitBody["overrides"]> extends ReadonlyMap<string, infer Tier> ? Tier : never;

/** The values are judged by the domain. */
function readLimitPayload(body: LimitBody): LimitPayload;
function readLimitPayload(body: LimitBody | undefined): LimitPayload | undefined;
function readLimitPayload(body: LimitBody | undefined): LimitPayload | undefined {
  if (body === undefined) return undefined;
  const { profile, overrides = new Map() } = body;
  return {
    ...(profile !== undefined && { profile }),
    overrides: Object.fromEntries([...overrides].map(([tier, knobs]) => [tier, readTier(knobs)])),
  };
}

function readTier({ rate, burst, window, max, concurrency }: TierBody): TierPayload {
  return {
    ...(rate !== undefined && { rate }),
    ...(burst !== undefined && { burst }),
    ...(window !== undefined && { window }),
    ...(max !== undefined && { max }),
    ...(concurrency !== undefined && { concurrency }),
  };
}

/** The body is optional here, and a bad one counts as none. */
async function readRecipient(request: ApiRequest<{ readonly to: string | undefined }>): Promise<string> {
  if (!(Number(request.headers.get("content-length") ?? 0) > 0)) return "";
  try {
    return (await request.body()).to ?? "";
  } catch {
    return "";
  }
}
