/**
 * The row behind a connection that is being made: what the `state` parameter stands for (RFC 6749, section 10.12).
 * The state is stored as its digest, taken once, and bound to whoever began: to the browser where one did, and else by
 * a code that the page of the callback shows and the person types where the connection was begun.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Selectable, Transaction } from "kysely";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { mintToken, tokenDigest } from "../../crypto/token.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { ActorRef } from "../actors/principal.ts";
import type { OAuthRow } from "./oauth-store.ts";

export const flowLifetimeMs = 10 * 60_000;
const maxAttempts = 5;
/** Without 0, O, 1, I, L and U: read from a page and typed. 30^8 codes, five attempts. */
const confirmationAlphabet = "23456789ABCDEFGHJKMNPQRSTVWXYZ";
const confirmationLength = 8;

export interface Flow {
  readonly digest: string;
  readonly credentialId: string;
  readonly startedBy: ActorRef;
  /** Fingerprint of the settings that the person consented to. */
  readonly settings: string;
  readonly redirectUri: string;
  readonly verifier: Secret;
  readonly browserDigest: string | null;
  readonly expiresAt: string;
}

export interface BegunFlow {
  readonly state: string;
  /** RFC 7636, section 4.2. */
  readonly codeChallenge: string;
}

export class OAuthFlows {
  readonly #database: Database;
  readonly #keyring: Keyring;

  constructor(options: { readonly database: Database; readonly keyring: Keyring }) {
    this.#database = options.database;
    this.#keyring = options.keyring;
  }

  async begin(
    tx: Transaction<Schema>,
    flow: {
      readonly row: OAuthRow;
      readonly startedBy: ActorRef;
      readonly redirectUri: string;
      /** The cookie of the browser that began. */
      readonly browserToken: string | undefined;
      readonly nowMs: number;
    },
  ): Promise<BegunFlow> {
    const state = mintToken("av_oast_");
    const digest = tokenDigest(state);
    // 32 random bytes: 43 characters, as RFC 7636, section 4.1, recommends.
    const verifier = randomBytes(32).toString("base64url");
    const now = new Date(flow.nowMs).toISOString();
    await tx.deleteFrom("oauth_states").where("expires_at", "<", now).execute();
    await tx
      .insertInto("oauth_states")
      .values({
        state_digest: digest,
        credential_id: flow.row.id,
        user_id: flow.startedBy.type === "user" ? flow.startedBy.id : null,
        agent_id: flow.startedBy.type === "agent" ? flow.startedBy.id : null,
        configuration: JSON.stringify({ settings: settingsTag(flow.row), redirectUri: flow.redirectUri }),
        verifier_sealed: await this.#keyring.seal(stateRecord(digest, "verifier"), verifier),
        created_at: now,
        expires_at: new Date(flow.nowMs + flowLifetimeMs).toISOString(),
        browser_digest: flow.browserToken === undefined ? null : tokenDigest(flow.browserToken),
      })
      .execute();
    const codeChallenge = createHash("sha256").update(verifier).digest("base64url");
    return { state, codeChallenge };
  }

  /** Takes the flow of a state: of several that present it at once, one gets it and the others undefined. */
  async take(state: string): Promise<Flow | undefined> {
    const digest = tokenDigest(state);
    // The callback is open to everybody: a state that is made up must not cost a turn to write.
    const known = this.#database.db.selectFrom("oauth_states").select("created_at").where("state_digest", "=", digest);
    if ((await known.executeTakeFirst()) === undefined) return undefined;
    return this.#database.transaction(async (tx) => {
      const row = await tx
        .deleteFrom("oauth_states")
        .where("state_digest", "=", digest)
        // Whoever has brought a code already waits for the confirmation.
        .where("code_sealed", "is", null)
        .returningAll()
        .executeTakeFirst();
      return row && (await this.#open(row));
    });
  }

  /**
   * Puts a flow back, with the provider's code in it, until the person who began confirms it.
   * @returns what that person has to type, such as `7KQD-M2XR`.
   */
  async park(flow: Flow, code: Secret, nowMs: number): Promise<string> {
    const confirmation = mintConfirmation();
    await this.#database.db
      .insertInto("oauth_states")
      .values({
        state_digest: flow.digest,
        credential_id: flow.credentialId,
        user_id: flow.startedBy.type === "user" ? flow.startedBy.id : null,
        agent_id: flow.startedBy.type === "agent" ? flow.startedBy.id : null,
        configuration: JSON.stringify({ settings: flow.settings, redirectUri: flow.redirectUri }),
        verifier_sealed: await this.#keyring.seal(stateRecord(flow.digest, "verifier"), flow.verifier.reveal()),
        created_at: new Date(nowMs).toISOString(),
        expires_at: flow.expiresAt,
        browser_digest: flow.browserDigest,
        code_sealed: await this.#keyring.seal(stateRecord(flow.digest, "code"), code.reveal()),
        confirmation_mac: await this.#mac(flow.digest, confirmation),
      })
      .execute();
    return `${confirmation.slice(0, 4)}-${confirmation.slice(4)}`;
  }

  /**
   * Takes the flow of this credential that `startedBy` began and that waits for exactly this confirmation. A wrong one
   * counts against every flow that waits; after five a flow is gone.
   */
  async confirm(
    credentialId: string,
    startedBy: ActorRef,
    typed: string,
  ): Promise<{ readonly flow: Flow; readonly code: Secret } | undefined> {
    const confirmation = typed.toUpperCase().replaceAll(/[\s-]/g, "");
    const column = startedBy.type === "user" ? "user_id" : "agent_id";
    return this.#database.transaction(async (tx) => {
      // Counted first, under the rows' locks: guesses made at the same time count as well.
      const waiting = await tx
        .updateTable("oauth_states")
        .set((row) => ({ confirmation_attempts: row("confirmation_attempts", "+", 1) }))
        .where("credential_id", "=", credentialId)
        .where(column, "=", startedBy.id)
        .where("code_sealed", "is not", null)
        .returningAll()
        .execute();
      for (const row of waiting) {
        const isRight = sameText(row.confirmation_mac ?? "", await this.#mac(row.state_digest, confirmation));
        if (isRight || row.confirmation_attempts >= maxAttempts) {
          await tx.deleteFrom("oauth_states").where("state_digest", "=", row.state_digest).execute();
        }
        if (!isRight || row.code_sealed === null) continue;
        const code = await this.#keyring.unsealText(stateRecord(row.state_digest, "code"), row.code_sealed);
        return { flow: await this.#open(row), code: new Secret(code) };
      }
      return undefined;
    });
  }

  async #open(row: Selectable<Schema["oauth_states"]>): Promise<Flow> {
    const { settings, redirectUri } = JSON.parse(row.configuration) as { settings: string; redirectUri: string };
    const verifier = await this.#keyring.unsealText(
      stateRecord(row.state_digest, "verifier"),
      row.verifier_sealed ?? new Uint8Array(),
    );
    return {
      digest: row.state_digest,
      credentialId: row.credential_id,
      startedBy: row.user_id === null ? { type: "agent", id: row.agent_id ?? "" } : { type: "user", id: row.user_id },
      settings,
      redirectUri,
      verifier: new Secret(verifier),
      browserDigest: row.browser_digest,
      expiresAt: row.expires_at,
    };
  }

  #mac(digest: string, confirmation: string): Promise<string> {
    return this.#keyring.mac("oauth-confirmation", `${digest}:${confirmation}`);
  }
}

/** What a code may be exchanged with; the sealed secret stands for the secret, which is sealed anew when it changes. */
export function settingsTag({ settings, clientSecretSealed }: OAuthRow): string {
  const { authorizationUrl, tokenUrl, clientId, tokenAuthMethod } = settings;
  const secret = clientSecretSealed === null ? "" : Buffer.from(clientSecretSealed).toString("base64");
  return tokenDigest(JSON.stringify([authorizationUrl ?? "", tokenUrl, clientId, tokenAuthMethod, secret]));
}

/** Did this browser begin? */
export function isSameBrowser(flow: Flow, browserToken: string | undefined): boolean {
  return browserToken !== undefined && sameText(flow.browserDigest ?? "", tokenDigest(browserToken));
}

function stateRecord(digest: string, column: "verifier" | "code"): RecordKey {
  return ["oauth_states", digest, column];
}

function mintConfirmation(): string {
  let text = "";
  while (text.length < confirmationLength) {
    for (const byte of randomBytes(16)) {
      // 240 is the largest multiple of 30 in a byte: every character is as likely as the next.
      if (byte < 240 && text.length < confirmationLength) text += confirmationAlphabet[byte % 30];
    }
  }
  return text;
}

function sameText(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
