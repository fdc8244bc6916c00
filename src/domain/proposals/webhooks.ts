/**
 * Webhooks of vaults: who is told about proposals, and the deliveries. Signed as the Standard Webhooks specification
 * has it (https://www.standardwebhooks.com): HMAC-SHA-256 over `id.timestamp.body`. A 2xx is a success; anything else is
 * tried again a few times, then given up. Deliveries live in memory only.
 */
import { createHmac, randomBytes } from "node:crypto";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { randomHex } from "../../crypto/token.ts";
import { AppError, InvalidInput, NotFound, Unavailable } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Outbound } from "../../net/outbound.ts";
import { post } from "../../net/post.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Audit } from "../audit/audit.ts";
import type { By } from "../audit/author.ts";
import type { Clock } from "../clock.ts";

export interface WebhooksOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly audit: Audit;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly log: Logger;
  /** Undefined where nothing may be called; then there are no webhooks. */
  readonly outbound: Outbound | undefined;
  /** AGENT_VAULT_DEV_MODE: http is allowed, too. */
  readonly allowsPlainHttp: boolean;
  /** Milliseconds before the second, third, … try. */
  readonly retryDelaysMs?: readonly number[];
}

/** What may be shown of a webhook: paths of chat webhooks are secrets. */
export interface WebhookInfo {
  readonly origin: string;
  readonly lastAttemptAt: string | undefined;
  /** `ok`, or why the last try failed. */
  readonly lastResult: string | undefined;
  readonly updatedAt: string;
}

interface Target {
  readonly url: string;
  readonly secret: string;
}

const defaultRetryDelaysMs = [2_000, 10_000, 60_000];
const attemptTimeoutMs = 10_000;
/** More at once means that a receiver hangs while agents propose in a loop. */
const maxUnderWay = 100;
const maxUrlBytes = 2_000;

export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: WebhooksOptions) {
    this.#options = options;
  }

  /**
   * Sets the webhook of a vault, in place of any other.
   * @returns the secret with which deliveries are signed; it is shown this once.
   * @throws {InvalidInput} `invalid_webhook`. @throws {Unavailable} `webhooks_off`.
   */
  async set(by: By, vaultId: string, address: string): Promise<Secret> {
    const { changes, audit, keyring, clock, outbound } = this.#options;
    if (outbound === undefined) throw new Unavailable("webhooks_off", "This server cannot call webhooks");
    const { href } = this.#parse(address);
    const secret = `whsec_${randomBytes(32).toString("base64")}`;
    const target: Target = { url: href, secret };
    const now = new Date(clock.now()).toISOString();
    const row = {
      target_sealed: await keyring.seal(targetRecord(vaultId), JSON.stringify(target)),
      last_attempt_at: null,
      last_result: null,
      updated_at: now,
    };
    await changes.transaction(async (tx) => {
      await tx
        .insertInto("proposal_webhooks")
        .values({ vault_id: vaultId, ...row, created_at: now })
        .onConflict((conflict) => conflict.column("vault_id").doUpdateSet(row))
        .execute();
      // Paths of chat webhooks are secrets.
      const after = { origin: new URL(href).origin };
      audit.record(tx, by, { action: "webhook.set", target: { type: "vault", id: vaultId }, vaultId, after });
    });
    return new Secret(secret);
  }

  /** @throws {NotFound} `webhook_not_found`. */
  async get(vaultId: string): Promise<WebhookInfo> {
    const row = await this.#find(vaultId);
    if (row === undefined) throw notFound();
    const { url } = await this.#open(vaultId, row.target_sealed);
    return {
      origin: new URL(url).origin,
      lastAttemptAt: row.last_attempt_at ?? undefined,
      lastResult: row.last_result ?? undefined,
      updatedAt: row.updated_at,
    };
  }

  /** @throws {NotFound} `webhook_not_found`. */
  async remove(by: By, vaultId: string): Promise<void> {
    const { changes, audit } = this.#options;
    await changes.transaction(async (tx) => {
      const removed = await tx.deleteFrom("proposal_webhooks").where("vault_id", "=", vaultId).executeTakeFirst();
      if (removed.numDeletedRows === 0n) throw notFound();
      audit.record(tx, by, { action: "webhook.remove", target: { type: "vault", id: vaultId }, vaultId });
    });
  }

  /** Begins a delivery where the vault has a webhook; its outcome is logged and kept for `get`. */
  async deliver(vaultId: string, event: string, data: object): Promise<void> {
    const { outbound, log } = this.#options;
    if (outbound === undefined || this.#closing.signal.aborted) return;
    const row = await this.#find(vaultId);
    if (row === undefined) return;
    if (this.#underWay.size >= maxUnderWay) {
      log.warn("a webhook is not called: too many deliveries are under way", { event });
      return;
    }
    const target = await this.#open(vaultId, row.target_sealed);
    const delivery = this.#try(outbound, { vaultId, event, target, sealed: row.target_sealed, data })
      .catch((error: unknown) => log.error("a webhook delivery failed unexpectedly", { event, error }))
      .finally(() => this.#underWay.delete(delivery));
    this.#underWay.add(delivery);
  }

  /** Gives up what is under way or waits for another try. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#underWay);
  }

  async #try(outbound: Outbound, delivery: Delivery): Promise<void> {
    const { clock, log, retryDelaysMs = defaultRetryDelaysMs } = this.#options;
    const { event, target, data } = delivery;
    const id = `msg_${randomHex(16)}`;
    const body = JSON.stringify({ type: event, timestamp: new Date(clock.now()).toISOString(), data });
    const { origin } = new URL(target.url);
    for (let attempt = 0; ; attempt += 1) {
      const failure = await this.#attempt(outbound, { id, body, target });
      await this.#note(delivery, failure ?? "ok");
      if (failure === undefined) {
        log.debug("webhook called", { event, origin });
        return;
      }
      const delay = retryDelaysMs[attempt];
      if (delay === undefined || this.#closing.signal.aborted) {
        log.warn("a webhook was given up", { event, origin, attempts: attempt + 1, failure });
        return;
      }
      await pause(delay, this.#closing.signal);
      // A webhook that was replaced or removed meanwhile must hear no more.
      const current = await this.#find(delivery.vaultId);
      if (this.#closing.signal.aborted || current === undefined || !isSame(current.target_sealed, delivery.sealed))
        return;
    }
  }

  /** @returns why it failed; undefined when it did not. */
  async #attempt(
    outbound: Outbound,
    message: { id: string; body: string; target: Target },
  ): Promise<string | undefined> {
    const { id, body, target } = message;
    const timestamp = String(Math.floor(this.#options.clock.now() / 1000));
    try {
      const status = await post(outbound, {
        url: this.#parse(target.url),
        headers: {
          "content-type": "application/json",
          "user-agent": "agent-vault-webhook",
          "webhook-id": id,
          "webhook-timestamp": timestamp,
          "webhook-signature": `v1,${sign(target.secret, `${id}.${timestamp}.${body}`)}`,
        },
        body,
        timeoutMs: attemptTimeoutMs,
        signal: this.#closing.signal,
      });
      return status >= 200 && status < 300 ? undefined : `it answered with status ${status}`;
    } catch (error) {
      if (error instanceof AppError) return error.message;
      throw error;
    }
  }

  async #note({ vaultId, sealed }: Delivery, result: string): Promise<void> {
    const { database, clock } = this.#options;
    await database.db
      .updateTable("proposal_webhooks")
      .set({ last_attempt_at: new Date(clock.now()).toISOString(), last_result: result.slice(0, 500) })
      .where("vault_id", "=", vaultId)
      .where("target_sealed", "=", sealed)
      .execute();
  }

  #parse(address: string): URL {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    const schemes = this.#options.allowsPlainHttp ? ["https:", "http:"] : ["https:"];
    const isFine =
      url !== undefined &&
      schemes.includes(url.protocol) &&
      !/[\s\p{Cc}]/u.test(address) &&
      Buffer.byteLength(address) <= maxUrlBytes &&
      url.username === "" &&
      url.password === "" &&
      url.hash === "";
    // Its path may be a secret, so it is not repeated.
    if (!isFine)
      throw new InvalidInput("invalid_webhook", "A webhook is an https address such as https://hooks.example.com/path");
    return url;
  }

  async #find(vaultId: string) {
    return this.#options.database.db
      .selectFrom("proposal_webhooks")
      .select(["target_sealed", "last_attempt_at", "last_result", "updated_at"])
      .where("vault_id", "=", vaultId)
      .executeTakeFirst();
  }

  async #open(vaultId: string, sealed: Uint8Array): Promise<Target> {
    return JSON.parse(await this.#options.keyring.unsealText(targetRecord(vaultId), sealed)) as Target;
  }
}

interface Delivery {
  readonly vaultId: string;
  readonly event: string;
  readonly target: Target;
  /** As it was when the delivery began: another one is another webhook. */
  readonly sealed: Uint8Array;
  readonly data: object;
}

function targetRecord(vaultId: string): RecordKey {
  return ["proposal_webhooks", vaultId, "target_sealed"];
}

function sign(secret: string, content: string): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return createHmac("sha256", key).update(content).digest("base64");
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

function notFound(): NotFound {
  return new NotFound("webhook_not_found", "This vault has no webhook");
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    timer.unref();
    signal.addEventListener("abort", end);
  });
}
