import type { SecureContext } from "node:tls";
import type { Authority, Cidr } from "./address.ts";
import type { ClientCertificate, TlsIdentity } from "./trust.ts";

/** What a vault makes of the instance's network settings; undefined fields are as the instance has them. */
export interface VaultNetwork {
  /** The special networks that this vault may reach, and no others; always within what the instance allows. */
  readonly networks: readonly Cidr[] | undefined;
  /** PEM of authorities that this vault trusts besides the instance's. */
  readonly roots: string | undefined;
  /** What to show an upstream that asks who calls (mutual TLS); the same for all services of an origin. */
  readonly clientFor?: (target: Authority) => ClientCertificate | undefined;
}

/** Builds, or remembers, the context for a vault with roots or a client certificate of its own. */
export type ContextFor = (identity: TlsIdentity) => SecureContext;
