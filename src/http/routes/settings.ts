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
import { Fields } from "../fields.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface SettingsDependencies {
  readonly access: Access;
  readonly settings: Settings;
  readonly limits: Limits;
  readonly mail: Mail;
}

const authed = { access: "session", tier: "authed" } as const;
const withBody = { ...authed, body: true } as const;

export function registerSettingsRoutes(router: ApiRouter, dependencies: SettingsDependencies): void {
  const { access, settings, limits, mail } = dependencies;

  router.on("GET", "/v1/admin/settings", authed, async ({ principal }) => {
    access.owner(principal);
    return json(await describe(dependencies));
  });

  router.on("PUT", "/v1/admin/settings", withBody, async (request) => {
    const owner = access.owner(request.principal);
    const fields = new Fields(await request.json());
    const isInviteOnly = fields.boolean("invite_only");
    const domains = fields.strings("allowed_email_domains");
    const rateLimit = readLimitPayload(fields.object("rate_limit"));
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

  router.on("POST", "/v1/admin/settings/rate-limit/preview", withBody, async (request) => {
    access.owner(request.principal);
    checkUnlocked(limits);
    const payload = readLimitPayload(new Fields(await request.json()));
    return json(formatLimits(limits.preview(toStored(payload)), payload?.profile));
  });

  router.on("POST", "/v1/admin/email/test", withBody, async (request) => {
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

/** @throws {InvalidInput} for wrong types; the values are judged by the domain. */
function readLimitPayload(fields: Fields | undefined): LimitPayload | undefined {
  if (fields === undefined) return undefined;
  const profile = fields.string("profile");
  const overrides = fields.value("overrides") ?? {};
  if (typeof overrides !== "object" || Array.isArray(overrides)) {
    throw new InvalidInput("invalid_body", 'Invalid request body: "overrides" must be an object');
  }
  return {
    ...(profile !== undefined && { profile }),
    // Tier names are matched exactly, so they are taken as they are.
    overrides: Object.fromEntries(
      Object.entries(overrides).map(([tier, knobs]) => [tier, readTier(new Fields(knobs))]),
    ),
  };
}

function readTier(fields: Fields): TierPayload {
  const rate = fields.number("rate");
  const burst = fields.integer("burst");
  const window = fields.string("window");
  const max = fields.integer("max");
  const concurrency = fields.integer("concurrency");
  return {
    ...(rate !== undefined && { rate }),
    ...(burst !== undefined && { burst }),
    ...(window !== undefined && { window }),
    ...(max !== undefined && { max }),
    ...(concurrency !== undefined && { concurrency }),
  };
}

/** The body is optional here, and a bad one counts as none. */
async function readRecipient(request: ApiRequest): Promise<string> {
  if (!(Number(request.headers.get("content-length") ?? 0) > 0)) return "";
  try {
    return new Fields(await request.json()).string("to") ?? "";
  } catch {
    return "";
  }
}
