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
import {
  changePassword,
  deleteAccount,
  forgotPassword,
  listLogins,
  login,
  logout,
  me,
  register,
  resendVerification,
  resetPassword,
  revokeLogin,
  verify,
} from "../contracts/accounts.ts";
import { nextCursor, parsePage } from "../page.ts";
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

export function registerAccountRoutes(router: ApiRouter, dependencies: AccountDependencies): void {
  registerRegistration(router, dependencies);
  registerPasswordReset(router, dependencies);
  registerLogin(router, dependencies);
  registerOwnAccount(router, dependencies);
  registerLoginSessions(router, dependencies);
}

function registerRegistration(router: ApiRouter, { accounts, mail, cookie, setupCookie }: AccountDependencies): void {
  router.on(register, async (request) => {
    const body = await request.body();
    const outcome = await accounts.register({
      email: body.email,
      password: body.password,
      deviceLabel: body.device_label,
      setupSecret: body.setup_secret ?? setupCookie.read(request.headers),
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

  router.on(verify, async (request) => {
    const body = await request.body();
    const { email, code } = required(body, ["email", "code"], "Email and code are required");
    const verified = await accounts.verify({
      email,
      code,
      deviceLabel: body.device_label,
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

  router.on(resendVerification, async (request) => {
    const { email } = required(await request.body(), ["email"], "Email is required");
    await accounts.resendVerification(email, callerOf(request));
    return json({
      message: "If an unverified account exists for this email, a new verification code has been sent.",
      email_sent: mail.isConfigured,
    });
  });
}

function registerPasswordReset(router: ApiRouter, { accounts, mail, cookie }: AccountDependencies): void {
  router.on(forgotPassword, async (request) => {
    const { email } = required(await request.body(), ["email"], "Email is required");
    await accounts.forgotPassword(email, callerOf(request));
    return json({
      message: "If an account exists for this email, a password reset code has been sent.",
      email_sent: mail.isConfigured,
    });
  });

  router.on(resetPassword, async (request) => {
    const body = await request.body();
    const needed = required(body, ["email", "code", "new_password"], "Email, code and new_password are required");
    const { token, expiresAt } = await accounts.resetPassword({
      email: needed.email,
      code: needed.code,
      newPassword: needed.new_password,
      deviceLabel: body.device_label,
      caller: callerOf(request),
    });
    return secretJson(
      { message: "Password reset.", authenticated: true, expires_at: wireTime(expiresAt) },
      { cookies: cookie.set(token, request.headers) },
    );
  });
}

function registerLogin(router: ApiRouter, { accounts, sessions, limits, cookie }: AccountDependencies): void {
  router.on(login, async (request) => {
    const body = await request.body();
    const { email, password } = required(body, ["email", "password"], "Email and password are required");
    // The attempt that fills the window is refused itself.
    const verdict = await limits.peekAuth(`ip:${limitKeyOf(request.clientIp)}`);
    if (!verdict.isAllowed) throw tooManyRequests(verdict);
    const { token, expiresAt } = await accounts.login({
      email,
      password,
      deviceLabel: body.device_label,
      caller: callerOf(request),
    });
    return secretJson({ token, expires_at: wireTime(expiresAt) }, { cookies: cookie.set(token, request.headers) });
  });

  router.on(logout, async (request) => {
    if (request.token !== undefined) await sessions.logout(request.token, callerOf(request));
    return json({ status: "ok" }, { cookies: cookie.clear(request.headers) });
  });
}

function registerOwnAccount(router: ApiRouter, { access, accounts, cookie }: AccountDependencies): void {
  router.on(me, ({ principal }) => {
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

  router.on(changePassword, async (request) => {
    const body = await request.body();
    const newPassword = body.new_password;
    const currentPassword = body.current_password;
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

  router.on(deleteAccount, async (request) => {
    const person = access.userSession(request.principal);
    await accounts.deleteOwn(person);
    return json({ status: "deleted", email: person.email }, { cookies: cookie.clear(request.headers) });
  });
}

function registerLoginSessions(router: ApiRouter, { access, sessions, cookie }: AccountDependencies): void {
  router.on(listLogins, async (request) => {
    const person = access.userSession(request.principal);
    const wanted = parsePage(request);
    const page = await sessions.page(person.id, wanted);
    return json({
      sessions: page.items.map((session) => ({
        id: session.id,
        ...(session.deviceLabel && { device_label: session.deviceLabel }),
        ...(session.lastIp && { last_ip: session.lastIp }),
        ...(session.lastUserAgent && { last_user_agent: session.lastUserAgent }),
        created_at: wireTime(session.createdAt),
        ...(session.lastUsedAt && { last_used_at: wireTime(session.lastUsedAt) }),
        ...(session.expiresAt && { expires_at: wireTime(session.expiresAt) }),
        current: session.id === person.sessionId,
      })),
      ...nextCursor(wanted, page),
    });
  });

  router.on(revokeLogin, async (request) => {
    const person = access.userSession(request.principal);
    const id = request.params.id;
    await sessions.revoke(person, id);
    const isCurrent = id === person.sessionId;
    return json({ status: "revoked", current: isCurrent }, isCurrent ? { cookies: cookie.clear(request.headers) } : {});
  });
}

/** @throws {InvalidInput} with the route's own sentence when one is missing or empty. */
function required<Name extends string>(
  body: Readonly<Record<Name, string>>,
  names: readonly Name[],
  sentence: string,
): Readonly<Record<Name, string>> {
  if (names.some((name) => body[name] === "")) throw new InvalidInput("missing_field", sentence);
  return body;
}
