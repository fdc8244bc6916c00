/** Well-known OAuth providers: addresses and ways that everybody would have to look up. People bring their own client. */
import { NotFound } from "../../errors.ts";
import { quote } from "../input.ts";
import type { TokenAuthMethod } from "./oauth-settings.ts";

export interface OAuthProvider {
  readonly id: string;
  readonly name: string;
  readonly suggestedKey: string;
  /** Holds what a provider needs to hand out refresh tokens. */
  readonly authorizationUrl: string;
  readonly tokenUrl: string;
  readonly tokenAuthMethod: TokenAuthMethod;
  readonly scopeSeparator: string;
  /** Scopes that people often want; none is asked for by itself. */
  readonly suggestedScopes: readonly string[];
}

const post = "client_secret_post";
const basic = "client_secret_basic";

export const oauthProviders: readonly OAuthProvider[] = [
  provider("github", "GitHub", post, {
    authorize: "https://github.com/login/oauth/authorize",
    token: "https://github.com/login/oauth/access_token",
    scopes: ["repo", "read:user", "user:email", "read:org", "workflow", "gist"],
  }),
  provider("google", "Google", post, {
    // Without these two Google hands out no refresh token, or only the first time.
    authorize: "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent",
    token: "https://oauth2.googleapis.com/token",
    scopes: [
      "openid",
      "email",
      "profile",
      "https://www.googleapis.com/auth/calendar",
      "https://www.googleapis.com/auth/drive",
      "https://www.googleapis.com/auth/gmail.readonly",
      "https://www.googleapis.com/auth/spreadsheets",
    ],
  }),
  provider("gitlab", "GitLab", post, {
    authorize: "https://gitlab.com/oauth/authorize",
    token: "https://gitlab.com/oauth/token",
    scopes: ["api", "read_api", "read_user", "read_repository", "write_repository", "openid"],
  }),
  provider("discord", "Discord", post, {
    authorize: "https://discord.com/oauth2/authorize",
    token: "https://discord.com/api/oauth2/token",
    scopes: ["identify", "email", "guilds", "bot", "messages.read"],
  }),
  provider("spotify", "Spotify", basic, {
    authorize: "https://accounts.spotify.com/authorize",
    token: "https://accounts.spotify.com/api/token",
    scopes: [
      "user-read-email",
      "user-read-private",
      "playlist-read-private",
      "playlist-modify-public",
      "user-library-read",
      "streaming",
    ],
  }),
  provider("slack", "Slack", post, {
    authorize: "https://slack.com/oauth/v2/authorize",
    token: "https://slack.com/api/oauth.v2.access",
    separator: ",",
    scopes: ["channels:read", "channels:history", "chat:write", "users:read", "users:read.email", "files:read"],
  }),
  provider("microsoft", "Microsoft", post, {
    authorize: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
    token: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
    // `offline_access` is what asks for a refresh token.
    scopes: [
      "openid",
      "profile",
      "email",
      "User.Read",
      "Mail.Read",
      "Calendars.ReadWrite",
      "Files.ReadWrite",
      "offline_access",
    ],
  }),
  provider("notion", "Notion", basic, {
    authorize: "https://api.notion.com/v1/oauth/authorize",
    token: "https://api.notion.com/v1/oauth/token",
    scopes: [],
  }),
  provider("linear", "Linear", post, {
    authorize: "https://linear.app/oauth/authorize",
    token: "https://api.linear.app/oauth/token",
    separator: ",",
    scopes: ["read", "write", "issues:create", "admin"],
  }),
  provider("bitbucket", "Bitbucket", basic, {
    authorize: "https://bitbucket.org/site/oauth2/authorize",
    token: "https://bitbucket.org/site/oauth2/access_token",
    scopes: ["repository", "repository:write", "pullrequest", "pullrequest:write", "account"],
  }),
  provider("dropbox", "Dropbox", post, {
    authorize: "https://www.dropbox.com/oauth2/authorize?token_access_type=offline",
    token: "https://api.dropboxapi.com/oauth2/token",
    scopes: ["files.metadata.read", "files.content.read", "files.content.write", "sharing.read", "account_info.read"],
  }),
  provider("twitch", "Twitch", post, {
    authorize: "https://id.twitch.tv/oauth2/authorize",
    token: "https://id.twitch.tv/oauth2/token",
    scopes: ["user:read:email", "channel:read:subscriptions", "channel:manage:broadcast", "chat:read", "chat:edit"],
  }),
  provider("zoom", "Zoom", basic, {
    authorize: "https://zoom.us/oauth/authorize",
    token: "https://zoom.us/oauth/token",
    scopes: ["user:read", "meeting:read", "meeting:write", "recording:read"],
  }),
  provider("hubspot", "HubSpot", post, {
    authorize: "https://app.hubspot.com/oauth/authorize",
    token: "https://api.hubapi.com/oauth/v1/token",
    scopes: [
      "crm.objects.contacts.read",
      "crm.objects.contacts.write",
      "crm.objects.companies.read",
      "crm.objects.deals.read",
      "crm.objects.deals.write",
      "content",
    ],
  }),
];

/** @throws {NotFound} `oauth_provider_not_found`. */
export function getOAuthProvider(id: string): OAuthProvider {
  const found = oauthProviders.find((candidate) => candidate.id === id);
  if (found) return found;
  const ids = oauthProviders.map((candidate) => candidate.id).join(", ");
  throw new NotFound("oauth_provider_not_found", `There is no provider ${quote(id)}; known are ${ids}`);
}

interface ProviderFacts {
  readonly authorize: string;
  readonly token: string;
  readonly separator?: string;
  readonly scopes: readonly string[];
}

function provider(id: string, name: string, tokenAuthMethod: TokenAuthMethod, facts: ProviderFacts): OAuthProvider {
  return {
    id,
    name,
    suggestedKey: id.toUpperCase(),
    authorizationUrl: facts.authorize,
    tokenUrl: facts.token,
    tokenAuthMethod,
    scopeSeparator: facts.separator ?? " ",
    suggestedScopes: facts.scopes,
  };
}
