/**
 * The pages that a person sees when they come back from an OAuth provider. Plain HTML without a script; nothing of the
 * request's address gets into them.
 */
import { createHash } from "node:crypto";

const style = [
  "body{font:16px/1.5 system-ui,sans-serif;margin:12vh auto;max-width:34rem;padding:0 1.5rem;color:#1b1f24;background:#fff}",
  "h1{font-size:1.4rem}code{font-size:1.9rem;letter-spacing:.12em}",
  "@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}}",
].join("");

/** Nothing may be loaded, run, framed or sent from here. */
const contentSecurityPolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** What went wrong, by the code of the error: the only sentences that the page shows. */
const reasons: Readonly<Record<string, string>> = {
  oauth_access_denied: "Access was denied at the provider",
  oauth_provider_error: "The provider ended the connection with an error",
  oauth_missing_parameter: "Missing code or state parameter",
  oauth_state_unknown: "This link was used already, or is not one of ours",
  oauth_state_expired: "The connection was not completed within ten minutes",
  oauth_other_browser: "The connection was begun in another browser: begin and consent in the same one",
  oauth_credential_gone: "The credential was deleted, or set by hand, in the meantime",
  oauth_changed_meanwhile: "The settings of the credential were changed in the meantime",
  oauth_initiator_lost_access: "Whoever began the connection may not change the vault any more",
  oauth_token_call_failed: "The provider gave no token: the list of credentials says why",
};
const unknownReason = "The credential was not connected";

/** A sentence for the person, which the completion page recognises. */
export function reasonOf(code: string): string {
  return (Object.hasOwn(reasons, code) ? reasons[code] : undefined) ?? unknownReason;
}

/** The end of a connection. @param message from the address: shown only if it is one of our own sentences. */
export function completionPage(isConnected: boolean, message: string): Response {
  if (isConnected) return page("Connected", ["The credential is connected. You can close this window."]);
  const reason = Object.values(reasons).find((sentence) => sentence === message) ?? unknownReason;
  return page("Not connected", [`${reason}.`, "You can close this window and begin again."]);
}

/** Asks the person to take a code back to where they began. */
export function confirmationPage(facts: {
  readonly vaultName: string;
  readonly key: string;
  readonly startedBy: string;
  readonly confirmation: string;
}): Response {
  return page("One more step", [
    `${facts.startedBy} asked to connect the account that you have just signed in with to the credential ${facts.key} of the vault ${facts.vaultName}.`,
    "If that was you, type this code where you began:",
    { code: facts.confirmation },
    "If it was not you, close this window and tell nobody the code: nothing is connected without it.",
  ]);
}

function page(title: string, lines: readonly (string | { readonly code: string })[]): Response {
  const body = lines.map((line) =>
    typeof line === "string" ? `<p>${escapeHtml(line)}</p>` : `<p><code>${escapeHtml(line.code)}</code></p>`,
  );
  const html = [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
    `<title>${escapeHtml(title)} - agent-vault</title><style>${style}</style></head>`,
    `<body><div id="root"><h1>${escapeHtml(title)}</h1>${body.join("")}</div></body></html>`,
    "",
  ].join("\n");
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-length": String(Buffer.byteLength(html)),
      "cache-control": "no-store",
      "content-security-policy": contentSecurityPolicy,
    },
  });
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
