/** Register, verify, sign in and out, and what people do with their own account (spec of accounts, 6.2 and 6.3). */
import type { Access } from "../../domain/actors/access.ts";
import type { Accounts } from "../../domain/actors/account.ts";
import { checkNewPassword } from "../../domain/actors/password.ts";
import type { Sessions } from "../../domain/actors/session.ts";
import { type Limits, tooManyRequests } from "../../domain/limits/tiers.ts";
import type { Mail } from "../../domain/mail.ts";
import { InvalidInput, Unauthenticated } from "../../errors.ts";
import { limitKeyOf } from "../../net/address.ts";
import { json, secretJson, wireTime } from "../answer.ts";
import type { SessionCookie, SetupCookie } from "../authenticate.ts";
import { Fields } from "../fields.ts";
import { type ApiRouter, callerOf } from "../router.ts";

export interface AccountDependencies {
  readonly access: Access;
  readonly accounts: Accounts;
  readonly sessions: Sessions;
  readonly limits: Limits;
  readonly mail: Mail;
  readonly cookie: SessionCookie;
  readonly setupCookie: SetupCookie;
}

/** All of these may sign a browser in, which another site must not do for it. */
const anonymous = { access: "public", tier: "auth-ip", initGate: false, body: true, checksOrigin: true } as const;
const personal = { access: "session", tier: "authed" } as const;

export function registerAccountRoutes(router: ApiRouter, dependencies: AccountDependencies): void {
  registerRegistration(router, dependencies);
  registerPasswordReset(router, dependencies);
  registerLogin(router, dependencies);
  registerOwnAccount(router, dependencies);
  registerLoginSessions(router, dependencies);
}

function registerRegistration(router: ApiRouter, { accounts, mail, cookie, setupCookie }: AccountDependencies): void {
  router.on("POST", "/v1/auth/register", anonymous, async (request) => {
    const fields = new Fields(await request.json());
    const outcome = await accounts.register({
      email: fields.string("email") ?? "",
      password: fields.string("password") ?? "",
      deviceLabel: fields.string("device_label"),
      setupSecret: fields.string("setup_secret") ?? setupCookie.read(request.headers),
      caller: callerOf(request),
    });
    if (outcome.kind === "pending") {
      const message = mail.isConfigured
        ? "If this email is not already registered, a verification code has been sent."
        : "If this email is not already registered, ask your instance owner for the verification code.";
      return json(
        { email: outcome.email, requires_verification: true, email_sent: mail.isConfigured, message },
        { status: 201 },
      );
    }
    const { token, expiresAt } = outcome.session;
    return secretJson(
      {
        email: outcome.email,
        role: "owner",
        requires_verification: false,
        email_sent: false,
        authenticated: true,
        message: "Owner account created.",
        token,
        expires_at: wireTime(expiresAt),
      },
      { status: 201, cookies: cookie.set(token, request.headers) },
    );
  });

  router.on("POST", "/v1/auth/verify", anonymous, async (request) => {
    const fields = new Fields(await request.json());
    const { email, code } = required(fields, ["email", "code"], "Email and code are required");
    const verified = await accounts.verify({
      email,
      code,
      deviceLabel: fields.string("device_label"),
      caller: callerOf(request),
    });
    const { token, expiresAt } = verified.session;
    return secretJson(
      {
        email: verified.email,
        authenticated: true,
        message: "Account verified.",
        token,
        expires_at: wireTime(expiresAt),
      },
      { cookies: cookie.set(token, request.headers) },
    );
  });

  router.on("POST", "/v1/auth/resend-verification", anonymous, async (request) => {
    const { email } = required(new Fields(await request.json()), ["email"], "Email is required");
    await accounts.resendVerification(email, callerOf(request));
    return json({
      message: "If an unverified account exists for this email, a new verification code has been sent.",
      email_sent: mail.isConfigured,
    });
  });
}

function registerPasswordReset(router: ApiRouter, { accounts, mail, cookie }: AccountDependencies): void {
  router.on("POST", "/v1/auth/forgot-password", anonymous, async (request) => {
    const { email } = required(new Fields(await request.json()), ["email"], "Email is required");
    await accounts.forgotPassword(email, callerOf(request));
    return json({
      message: "If an account exists for this email, a password reset code has been sent.",
      email_sent: mail.isConfigured,
    });
  });

  router.on("POST", "/v1/auth/reset-password", anonymous, async (request) => {
    const fields = new Fields(await request.json());
    const needed = required(fields, ["email", "code", "new_password"], "Email, code and new_password are required");
    const { token, expiresAt } = await accounts.resetPassword({
      email: needed.email,
      code: needed.code,
      newPassword: needed.new_password,
      deviceLabel: fields.string("device_label"),
      caller: callerOf(request),
    });
    return secretJson(
      { message: "Password reset.", authenticated: true, expires_at: wireTime(expiresAt) },
      { cookies: cookie.set(token, request.headers) },
    );
  });
}

function registerLogin(router: ApiRouter, { accounts, sessions, limits, cookie }: AccountDependencies): void {
  router.on("POST", "/v1/auth/login", { ...anonymous, initGate: true }, async (request) => {
    const fields = new Fields(await request.json());
    const { email, password } = required(fields, ["email", "password"], "Email and password are required");
    // The attempt that fills the window is refused itself.
    const verdict = limits.peekAuth(`ip:${limitKeyOf(request.clientIp)}`);
    if (!verdict.isAllowed) throw tooManyRequests(verdict);
    const { token, expiresAt } = await accounts.login({
      email,
      password,
      deviceLabel: fields.string("device_label"),
      caller: callerOf(request),
    });
    return secretJson({ token, expires_at: wireTime(expiresAt) }, { cookies: cookie.set(token, request.headers) });
  });

  const logout = { access: "public", tier: "auth-ip", checksOrigin: true } as const;
  router.on("POST", "/v1/auth/logout", logout, async (request) => {
    if (request.token !== undefined) await sessions.logout(request.token, callerOf(request));
    return json({ status: "ok" }, { cookies: cookie.clear(request.headers) });
  });
}

function registerOwnAccount(router: ApiRouter, { access, accounts, cookie }: AccountDependencies): void {
  router.on("GET", "/v1/auth/me", personal, ({ principal }) => {
    switch (principal.kind) {
      case "user":
        return json({
          type: "user",
          email: principal.email,
          role: principal.role,
          is_owner: principal.role === "owner",
        });
      case "agent":
        return json({
          type: "agent",
          agent_name: principal.name,
          role: principal.role,
          is_owner: principal.role === "owner",
        });
      case "scoped":
        throw new Unauthenticated("not_authenticated", "Not authenticated");
    }
  });

  router.on("POST", "/v1/auth/change-password", { ...personal, body: true }, async (request) => {
    const fields = new Fields(await request.json());
    const newPassword = fields.string("new_password") ?? "";
    const currentPassword = fields.string("current_password") ?? "";
    if (newPassword === "") throw new InvalidInput("missing_field", "new_password is required");
    checkNewPassword(newPassword);
    const person = access.userSession(request.principal);
    if (currentPassword === "") throw new InvalidInput("missing_field", "current_password is required");
    const { token, expiresAt } = await accounts.changePassword(person, {
      currentPassword,
      newPassword,
      caller: callerOf(request),
    });
    return secretJson({ token, expires_at: wireTime(expiresAt) }, { cookies: cookie.set(token, request.headers) });
  });

  router.on("DELETE", "/v1/auth/account", personal, async (request) => {
    const person = access.userSession(request.principal);
    await accounts.deleteOwn(person);
    return json({ status: "deleted", email: person.email }, { cookies: cookie.clear(request.headers) });
  });
}

function registerLoginSessions(router: ApiRouter, { access, sessions, cookie }: AccountDependencies): void {
  router.on("GET", "/v1/auth/sessions", personal, async (request) => {
    const person = access.userSession(request.principal);
    const list = await sessions.list(person.id);
    return json({
      sessions: list.map((session) => ({
        id: session.id,
        ...(session.deviceLabel && { device_label: session.deviceLabel }),
        ...(session.lastIp && { last_ip: session.lastIp }),
        ...(session.lastUserAgent && { last_user_agent: session.lastUserAgent }),
        created_at: wireTime(session.createdAt),
        ...(session.lastUsedAt && { last_used_at: wireTime(session.lastUsedAt) }),
        ...(session.expiresAt && { expires_at: wireTime(session.expiresAt) }),
        current: session.id === person.sessionId,
      })),
    });
  });

  router.on("DELETE", "/v1/auth/sessions/{id}", personal, async (request) => {
    const person = access.userSession(request.principal);
    const id = request.params.id ?? "";
    await sessions.revoke(person, id);
    const isCurrent = id === person.sessionId;
    return json({ status: "revoked", current: isCurrent }, isCurrent ? { cookies: cookie.clear(request.headers) } : {});
  });
}

/** @throws {InvalidInput} with the route's own sentence when one is missing or empty. */
function required<Name extends string>(
  fields: Fields,
  names: readonly Name[],
  sentence: string,
): Readonly<Record<Name, string>> {
  const values = names.map((name): [Name, string] => [name, fields.string(name) ?? ""]);
  if (values.some(([, value]) => value === "")) throw new InvalidInput("missing_field", sentence);
  return Object.fromEntries(values) as Record<Name, string>;
}
