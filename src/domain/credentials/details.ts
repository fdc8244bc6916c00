/** What is known of a credential besides its value. */
import type { Selectable, Transaction } from "kysely";
import { InvalidInput } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import { quote } from "../input.ts";
import type { CredentialEntry, CredentialType } from "./credential.ts";
import { type OAuthSettings, settingsOf } from "./oauth-settings.ts";

/** Everything about a credential but its value. */
export interface CredentialDescription extends CredentialEntry {
  readonly version: number;
  readonly description: string | undefined;
  /** When its owner expects it to end; a reminder, which stops nothing. */
  readonly expiresAt: string | undefined;
  /** True to about two minutes. */
  readonly lastUsedAt: string | undefined;
  readonly updatedAt: string;
  readonly oauth: OAuthDescription | undefined;
}

export interface OAuthDescription {
  readonly settings: OAuthSettings;
  readonly hasClientSecret: boolean;
  readonly hasRefreshToken: boolean;
  readonly tokenExpiresAt: string | undefined;
  readonly connectedAt: string | undefined;
  readonly lastRefreshedAt: string | undefined;
  readonly lastRefreshError: string | undefined;
}

/** What is said about a credential; undefined leaves it as it is, null removes it. */
export interface CredentialDetails {
  readonly description?: string | null | undefined;
  readonly expiresAt?: string | null | undefined;
}

const maxDescriptionLength = 500;

/** An empty text removes the description. @throws {InvalidInput} `invalid_description`. */
export function parseDescription(text: string): string | null {
  const trimmed = text.trim();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(trimmed) || trimmed.length > maxDescriptionLength) {
    throw new InvalidInput(
      "invalid_description",
      `A description is one line of at most ${maxDescriptionLength} characters`,
    );
  }
  return trimmed === "" ? null : trimmed;
}

/**
 * A date (`2027-01-31`, its beginning in UTC) or a time (RFC 3339); an empty text removes it.
 * @throws {InvalidInput} `invalid_expiry`.
 */
export function parseExpiry(text: string): string | null {
  if (text === "") return null;
  const isTime = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))?$/i.test(text);
  const time = new Date(text);
  // `2027-02-31` becomes a day in March: a date that does not exist is a mistake.
  const isReal = isTime && !Number.isNaN(time.getTime()) && !isOtherDay(text);
  if (!isReal) {
    throw new InvalidInput("invalid_expiry", `${quote(text)} is no date such as 2027-01-31 or 2027-01-31T12:00:00Z`);
  }
  return time.toISOString();
}

function isOtherDay(text: string): boolean {
  const day = text.slice(0, 10);
  const midnight = new Date(day);
  return Number.isNaN(midnight.getTime()) || midnight.toISOString().slice(0, 10) !== day;
}

export async function writeDetails(
  tx: Transaction<Schema>,
  id: string,
  { description, expiresAt }: CredentialDetails,
  now: string,
): Promise<void> {
  await tx
    .updateTable("credentials")
    .set({
      ...(description !== undefined && { description }),
      ...(expiresAt !== undefined && { expires_at: expiresAt, reminded_days: null }),
      updated_at: now,
    })
    .where("id", "=", id)
    .execute();
}

type DescribedRow = Pick<
  Selectable<Schema["credentials"]>,
  "key" | "type" | "version" | "description" | "expires_at" | "last_used_at" | "updated_at"
> &
  Nullable<Selectable<Schema["credential_oauth"]>>;
type Nullable<T> = { readonly [K in keyof T]: T[K] | null };

export function describeRow(row: DescribedRow): CredentialDescription {
  return {
    key: row.key,
    type: row.type as CredentialType,
    version: row.version,
    description: row.description ?? undefined,
    expiresAt: row.expires_at ?? undefined,
    lastUsedAt: row.last_used_at ?? undefined,
    updatedAt: row.updated_at,
    // Of a left join either all columns are there or none.
    oauth: row.token_url === null ? undefined : describeOAuth(row as Selectable<Schema["credential_oauth"]>),
  };
}

function describeOAuth(row: Selectable<Schema["credential_oauth"]>): OAuthDescription {
  return {
    settings: settingsOf(row),
    hasClientSecret: row.client_secret_sealed !== null,
    hasRefreshToken: row.refresh_token_sealed !== null,
    tokenExpiresAt: row.token_expires_at ?? undefined,
    connectedAt: row.connected_at ?? undefined,
    lastRefreshedAt: row.last_refreshed_at ?? undefined,
    lastRefreshError: row.last_refresh_error ?? undefined,
  };
}
