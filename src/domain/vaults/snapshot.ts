/**
 * The contract between the data plane and the vault: an immutable, versioned picture from which a request is decided
 * without a database. Implemented by `snapshots.ts`.
 */
import type { VaultNetwork } from "../../net/vault-network.ts";
import type { CredentialKey, ScrubMode, Service } from "../services/service.ts";

/** What a request is aimed at. Host lower-case without trailing dot; path as on the wire, without query. */
export interface Target {
  readonly scheme: "https" | "http";
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly method: string;
}

/** A header that a service sets, ready to be written: never appended, always in place of the agent's own. */
export interface InjectedHeader {
  readonly name: string;
  readonly value: string;
}

/** What a service puts into requests. */
export interface Injection {
  readonly headers: readonly InjectedHeader[];
  /**
   * The value of each credential that the service names, for its substitutions and for the search through answers. What
   * is compiled from them is held weakly on this map: plaintext lives as long as the map is kept, and no longer.
   */
  readonly values: ReadonlyMap<CredentialKey, string>;
  /** Is it worth holding back a 401 of the upstream? Only where one of the values can be renewed. */
  readonly isRenewable: boolean;
}

export type MatchOutcome =
  | { readonly kind: "service"; readonly service: Service }
  /** The best match is disabled: refused, never passed to a less specific one. */
  | { readonly kind: "disabled"; readonly service: Service }
  /** Host, port and path select services, none of which allows this scheme (or method). */
  | { readonly kind: "scheme_not_allowed" | "method_not_allowed"; readonly service: Service }
  /** A path-scoped service of this host is in play and the path is not in canonical form. */
  | { readonly kind: "ambiguous_path" }
  | { readonly kind: "none" };

export interface VaultSnapshot {
  readonly vaultId: string;
  readonly vaultName: string;
  readonly version: number;
  readonly unmatchedHostPolicy: "passthrough" | "deny";
  /** Where the vault may reach and whom it trusts; without it all is as the instance has it. */
  readonly network?: VaultNetwork;
  /** For services that do not say it themselves. */
  readonly scrubMode: ScrubMode;
  match(target: Target): MatchOutcome;
  /** The service that has tunnels to this authority left alone; undefined for all others, which is nearly always. */
  rawServiceFor(host: string, port: number): Service | undefined;
  /**
   * What a service injects. Synchronous when it was made within the last 60 seconds for this snapshot, and then the very
   * same object; else a promise (one unseal per distinct key).
   * @throws {UpstreamFailed} naming keys, never values: `credential_not_found` when a credential is missing or does not
   * open, `credential_unusable` when it holds bytes that are illegal in a field value, `oauth_not_connected`,
   * `oauth_refresh_failed`.
   */
  injectionFor(service: Service): Injection | Promise<Injection>;
  /**
   * Something else in place of `refused`, which the upstream answered with 401: those that came since, or new ones, for
   * which the provider is asked once however many requests were refused. Undefined when there are none to be had; then
   * the 401 is the answer.
   */
  renewedInjection(service: Service, refused: Injection): Promise<Injection | undefined>;
}

export interface SnapshotSource {
  /** The current snapshot when it is in memory and known to be fresh: the warm path. */
  current(vaultId: string): VaultSnapshot | undefined;
  /**
   * Loads it, once for all who wait.
   * @throws {NotFound} when the vault is gone.
   * @throws {Unavailable} when the database cannot be asked.
   */
  load(vaultId: string): Promise<VaultSnapshot>;
}
