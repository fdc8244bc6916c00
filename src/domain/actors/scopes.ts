/**
 * What a proxy token stands for, from memory in the steady state.
 *
 * Every change that could end a scope raises one epoch, so a lease asks nothing but "same epoch, not yet expired?".
 * Renewing a lease then looks into a cache whose entries are dropped one by one, by what the change was about.
 */
import { tokenDigest } from "../../crypto/token.ts";
import { Forbidden, InvalidInput, NotFound } from "../../errors.ts";
import type { Change, Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Clock } from "../clock.ts";
import type { AgentPrincipal, ScopedPrincipal, VaultRole } from "./principal.ts";
import { attributed, type Scope, type ScopeLease, type ScopeResolver } from "./scope.ts";
import { asUnavailable, type Resolved, type Sessions } from "./session.ts";

/** Even if an announcement were lost, a revoked token would not outlive this. */
const recheckMs = 30_000;
const maxEntries = 10_000;
const usage = "send the vault as the password: http://<token>:<vault>@host:port";

interface Entry {
  readonly scope: Scope;
  /** Until when the entry may be used without another look: its expiry or the next recheck. */
  readonly validUntilMs: number;
}

/** Which vault is asked for: by name (or not at all), or the one that a lease already has. */
type Choice =
  | { readonly kind: "hint"; readonly name: string | undefined }
  | { readonly kind: "same"; readonly vaultId: string };

export class Scopes implements ScopeResolver {
  readonly #database: Database;
  readonly #sessions: Sessions;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #loading = new Map<string, Promise<Entry>>();
  readonly #unwatch: () => void;
  #epoch = 0;
  /** How often the database was asked, since the start. */
  lookups = 0;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly sessions: Sessions;
    readonly clock: Clock;
  }) {
    this.#database = options.database;
    this.#sessions = options.sessions;
    this.#clock = options.clock;
    this.#unwatch = options.changes.watch((change) => this.#forget(change));
  }

  async resolve(token: string, vaultHint: string | undefined): Promise<ScopeLease> {
    const digest = tokenDigest(token);
    const epoch = this.#epoch;
    const entry = await this.#entryFor(digest, { kind: "hint", name: vaultHint || undefined });
    return new Lease(this, digest, { entry, epoch });
  }

  /** Stops listening for changes. */
  close(): void {
    this.#unwatch();
    this.#entries.clear();
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The entry of a lease that goes on in the same vault. */
  renew(digest: string, vaultId: string): Promise<Entry> {
    return this.#entryFor(digest, { kind: "same", vaultId });
  }

  async #entryFor(digest: string, choice: Choice): Promise<Entry> {
    const key = `${digest}\n${choice.kind}\n${choice.kind === "hint" ? (choice.name ?? "") : choice.vaultId}`;
    const known = this.#entries.get(key);
    if (known !== undefined && this.#clock.now() < known.validUntilMs) return known;
    const loading = this.#loading.get(key) ?? this.#load(key, digest, choice);
    this.#loading.set(key, loading);
    try {
      return await loading;
    } finally {
      if (this.#loading.get(key) === loading) this.#loading.delete(key);
    }
  }

  async #load(key: string, digest: string, choice: Choice): Promise<Entry> {
    const epoch = this.#epoch;
    this.lookups++;
    const resolved = await this.#sessions.resolve(digest);
    const scope = await asUnavailable(() => this.#scopeOf(resolved, choice));
    const entry = { scope, validUntilMs: Math.min(resolved.expiresAtMs, this.#clock.now() + recheckMs) };
    // A change that happened while we read may not be in what we read: good for this answer, not for the next.
    if (this.#epoch === epoch) this.#remember(key, entry);
    return entry;
  }

  #remember(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size <= maxEntries) return;
    const oldest = this.#entries.keys().next().value;
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  async #scopeOf({ principal }: Resolved, choice: Choice): Promise<Scope> {
    switch (principal.kind) {
      case "user":
        throw new InvalidInput("vault_required", "A login session cannot use the proxy; mint a vault-scoped token", {
          hint: "agent-vault vault token",
        });
      case "scoped":
        return this.#scopedScope(principal, choice);
      case "agent":
        return this.#agentScope(principal, choice);
    }
  }

  async #scopedScope(principal: ScopedPrincipal, choice: Choice): Promise<Scope> {
    const vault = await this.#database.db
      .selectFrom("vaults")
      .select(["id", "name"])
      .where("id", "=", principal.vaultId)
      .executeTakeFirst();
    if (vault === undefined) throw vaultNotFound();
    const scope: Scope = {
      vaultId: vault.id,
      vaultName: vault.name,
      vaultRole: principal.vaultRole,
      actorType: principal.createdBy.type,
      actorId: principal.createdBy.id,
      sessionId: principal.sessionId,
    };
    if (choice.kind === "hint" && choice.name !== undefined && choice.name !== vault.name) {
      throw attributed(new Forbidden("forbidden", "This token is bound to another vault than the one named"), scope);
    }
    return scope;
  }

  async #agentScope(principal: AgentPrincipal, choice: Choice): Promise<Scope> {
    const grants = await this.#database.db
      .selectFrom("vault_grants")
      .innerJoin("vaults", "vaults.id", "vault_grants.vault_id")
      .select(["vaults.id", "vaults.name", "vault_grants.role"])
      .where("vault_grants.agent_id", "=", principal.id)
      .execute();
    const scopeIn = ({ id, name, role }: AgentGrant): Scope => ({
      vaultId: id,
      vaultName: name,
      vaultRole: role as VaultRole,
      actorType: "agent",
      actorId: principal.id,
      sessionId: principal.sessionId,
    });
    return scopeIn(await this.#choose(grants, choice, scopeIn));
  }

  /** @param scopeIn what the agent would have in a vault; a refusal is told there. */
  async #choose(
    grants: readonly AgentGrant[],
    choice: Choice,
    scopeIn: (grant: AgentGrant) => Scope,
  ): Promise<AgentGrant> {
    const refused = (id: string, name: string) => attributed(noAccess(), scopeIn({ id, name, role: "proxy" }));
    if (choice.kind === "same") {
      const grant = grants.find(({ id }) => id === choice.vaultId);
      if (grant === undefined) throw refused(choice.vaultId, "");
      return grant;
    }
    if (choice.name === undefined) {
      const [only, another] = grants;
      if (only !== undefined && another === undefined) return only;
      const problem =
        only === undefined ? "This agent has access to no vault" : "This agent has access to several vaults";
      throw new InvalidInput("vault_required", `${problem}; ${usage}`);
    }
    const grant = grants.find(({ name }) => name === choice.name);
    if (grant !== undefined) return grant;
    const vault = await this.#database.db
      .selectFrom("vaults")
      .select("id")
      .where("name", "=", choice.name)
      .executeTakeFirst();
    throw vault === undefined ? vaultNotFound() : refused(vault.id, choice.name);
  }

  #forget(change: Change): void {
    if (change.kind === "settings" || change.kind === "proposal") return;
    this.#epoch++;
    // Whoever asks from now on must not join a read that began before the change.
    this.#loading.clear();
    for (const [key, { scope }] of this.#entries) {
      const isMeant =
        change.kind === "everything" ||
        (change.kind === "vault" && scope.vaultId === change.vaultId) ||
        (change.kind === "session" && scope.sessionId === change.publicId) ||
        (change.kind === "actor" && scope.actorId === change.actorId);
      if (isMeant) this.#entries.delete(key);
    }
  }
}

interface AgentGrant {
  readonly id: string;
  readonly name: string;
  readonly role: string;
}

class Lease implements ScopeLease {
  readonly #scopes: Scopes;
  readonly #digest: string;
  #entry: Entry;
  #epoch: number;

  constructor(scopes: Scopes, digest: string, state: { readonly entry: Entry; readonly epoch: number }) {
    this.#scopes = scopes;
    this.#digest = digest;
    this.#entry = state.entry;
    this.#epoch = state.epoch;
  }

  get scope(): Scope {
    return this.#entry.scope;
  }

  isCurrent(nowMs: number): boolean {
    return this.#epoch === this.#scopes.epoch && nowMs < this.#entry.validUntilMs;
  }

  async renew(): Promise<void> {
    const epoch = this.#scopes.epoch;
    this.#entry = await this.#scopes.renew(this.#digest, this.scope.vaultId);
    this.#epoch = epoch;
  }
}

function vaultNotFound(): NotFound {
  return new NotFound("vault_not_found", "Vault not found");
}

function noAccess(): Forbidden {
  return new Forbidden("forbidden", "This agent has no access to the vault");
}
