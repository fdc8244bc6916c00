/** Contracts of registration, sign-in, and one's own account (spec of accounts, 6.2 and 6.3). */
import { body, needed, string } from "../openapi/body.ts";
import { answer, authed, open, pageQuery } from "../openapi/contract.ts";
import { choice, constant, flag, listOf, maybe, named, oneOf, shape, text, time } from "../openapi/schema.ts";
import { deviceLabel, email, instanceRole, newPassword, newSession, nextCursor } from "./common.ts";

/** All of these may sign a browser in, which another site must not do for it. */
const anonymous = { area: "Accounts", tier: "auth-ip", checksOrigin: true } as const;
const personal = { area: "Accounts", who: "person" } as const;

const code = text("The code of six digits", { pattern: "^[0-9]{6}$" });
const sent = shape({ message: text(), email_sent: flag("The server can send mail") });

export const register = open({
  ...anonymous,
  method: "POST",
  path: "/v1/auth/register",
  operation: "register",
  does: "Create an account",
  notes:
    "The first account becomes the owner and is signed in at once; a guarded server asks for the secret that it printed. Everybody else gets a code by mail, whether or not the address is known.",
  initGate: false,
  body: body({
    email: needed(string(email)),
    password: needed(string(newPassword)),
    device_label: string(deviceLabel),
    setup_secret: string(text("For the first account of a guarded server", { format: "password" })),
  }),
  answers: {
    201: answer(
      oneOf(
        shape({
          email,
          role: constant("owner"),
          requires_verification: constant(false),
          email_sent: constant(false),
          authenticated: constant(true),
          message: text(),
          token: text("The token of the session, shown only now"),
          expires_at: time(),
        }),
        shape({ email, requires_verification: constant(true), email_sent: flag(), message: text() }),
      ),
      "The account was created, or a code was sent",
    ),
  },
  errors: [
    "invalid_email",
    "invalid_password",
    "domain_not_allowed",
    "invite_only",
    "setup_secret_required",
    "too_many_codes",
    "busy",
  ],
});

export const verify = open({
  ...anonymous,
  method: "POST",
  path: "/v1/auth/verify",
  operation: "verifyAccount",
  does: "Confirm an address with the code that was sent to it",
  initGate: false,
  body: body({ email: needed(string(email)), code: needed(string(code)), device_label: string(deviceLabel) }),
  answers: {
    200: answer(
      shape({
        email,
        authenticated: constant(true),
        message: text(),
        token: text("The token of the session, shown only now"),
        expires_at: time(),
      }),
      "The account is active and signed in",
    ),
  },
  errors: ["missing_field", "invalid_code", "too_many_codes", "user_not_found", "already_verified"],
});

export const resendVerification = open({
  ...anonymous,
  method: "POST",
  path: "/v1/auth/resend-verification",
  operation: "resendVerification",
  does: "Send another code to an address that is not confirmed",
  notes: "The answer is the same whether or not there is such an account.",
  initGate: false,
  body: body({ email: needed(string(email)) }),
  answers: { 200: answer(sent, "The request was taken") },
  errors: ["missing_field"],
});

export const forgotPassword = open({
  ...anonymous,
  method: "POST",
  path: "/v1/auth/forgot-password",
  operation: "forgotPassword",
  does: "Send a code that sets a new password",
  notes: "The answer is the same whether or not there is such an account.",
  initGate: false,
  body: body({ email: needed(string(email)) }),
  answers: { 200: answer(sent, "The request was taken") },
  errors: ["missing_field"],
});

export const resetPassword = open({
  ...anonymous,
  method: "POST",
  path: "/v1/auth/reset-password",
  operation: "resetPassword",
  does: "Set a new password with the code that was sent",
  notes: "Ends every login of the account and signs in anew; the token is in the cookie only.",
  initGate: false,
  body: body({
    email: needed(string(email)),
    code: needed(string(code)),
    new_password: needed(string(newPassword)),
    device_label: string(deviceLabel),
  }),
  answers: {
    200: answer(shape({ message: text(), authenticated: constant(true), expires_at: time() }), "The password is set"),
  },
  errors: ["missing_field", "invalid_password", "invalid_code", "too_many_codes", "busy"],
});

export const login = open({
  ...anonymous,
  method: "POST",
  path: "/v1/auth/login",
  operation: "login",
  does: "Sign in",
  body: body({
    email: needed(string(email)),
    password: needed(string(text("The password", { format: "password" }))),
    device_label: string(deviceLabel),
  }),
  answers: { 200: answer(newSession, "Signed in") },
  errors: ["missing_field", "invalid_login", "busy"],
});

export const logout = open({
  ...anonymous,
  method: "POST",
  path: "/v1/auth/logout",
  operation: "logout",
  does: "End the session of the token that is sent",
  notes: "Whatever the token is, it stops working: an agent's too. Without a token nothing happens.",
  answers: { 200: answer(shape({ status: constant("ok") }), "The token is not valid any more") },
});

export const me = authed({
  area: "Accounts",
  who: "identity",
  method: "GET",
  path: "/v1/auth/me",
  operation: "whoAmI",
  does: "Say who the token belongs to",
  answers: {
    200: answer(
      oneOf(
        shape({ type: constant("user"), email, role: instanceRole, is_owner: flag() }),
        shape({ type: constant("agent"), agent_name: text(), role: instanceRole, is_owner: flag() }),
      ),
    ),
  },
});

export const changePassword = authed({
  ...personal,
  method: "POST",
  path: "/v1/auth/change-password",
  operation: "changePassword",
  does: "Change one's own password",
  notes: "Ends every login of the account, the one that asks included, and signs in anew.",
  body: body({
    current_password: needed(string(text("The password until now", { format: "password" }))),
    new_password: needed(string(newPassword)),
  }),
  answers: { 200: answer(newSession, "The password is changed") },
  errors: ["missing_field", "invalid_password", "wrong_password", "busy"],
});

export const deleteAccount = authed({
  ...personal,
  method: "DELETE",
  path: "/v1/auth/account",
  operation: "deleteAccount",
  does: "Delete one's own account",
  answers: { 200: answer(shape({ status: constant("deleted"), email }), "The account is gone") },
  errors: ["owner_account", "last_owner"],
});

const session = named(
  "LoginSession",
  shape({
    id: text("Public id of the session", { pattern: "^[0-9a-f]{20}$" }),
    device_label: maybe(text()),
    last_ip: maybe(text()),
    last_user_agent: maybe(text()),
    created_at: time(),
    last_used_at: maybe(time()),
    expires_at: maybe(time()),
    current: flag("The session that asks"),
  }),
);

export const listLogins = authed({
  ...personal,
  method: "GET",
  path: "/v1/auth/sessions",
  operation: "listLogins",
  does: "List where one is signed in",
  query: pageQuery,
  answers: { 200: answer(shape({ sessions: listOf(session), next_cursor: nextCursor })) },
});

export const revokeLogin = authed({
  ...personal,
  method: "DELETE",
  path: "/v1/auth/sessions/{id}",
  operation: "revokeLogin",
  does: "End one of one's own logins",
  params: { id: text("Public id of the session") },
  answers: { 200: answer(shape({ status: choice(["revoked"]), current: flag("It was the one that asked") })) },
  errors: ["session_not_found"],
});
