/** What may be reached through a vault, and how it authenticates. */

export type CredentialKey = string;
export type Scheme = "https" | "http";
export type Surface = "path" | "query" | "header" | "body" | "websocket";
/** What happens to values in answers that went out with the request. */
export const scrubModes = ["off", "detect", "redact", "block"] as const;
export type ScrubMode = (typeof scrubModes)[number];

export type Auth =
  | { readonly type: "bearer"; readonly token: CredentialKey }
  | { readonly type: "basic"; readonly username: CredentialKey; readonly password?: CredentialKey }
  | { readonly type: "api-key"; readonly key: CredentialKey; readonly header?: string; readonly prefix?: string }
  | { readonly type: "custom"; readonly headers: Readonly<Record<string, string>> }
  | { readonly type: "passthrough" };

export interface Substitution {
  readonly key: CredentialKey;
  readonly placeholder: string;
  readonly in: readonly Surface[];
}

/** Where a service applies: a host or `*.suffix` (lower-case), optionally a port and a path glob. */
export interface Pattern {
  readonly host: string;
  readonly port?: number;
  readonly path?: string;
}

export interface Service {
  readonly name: string;
  readonly pattern: Pattern;
  /** Undefined when never set, which means enabled; kept apart because reads omit it then. */
  readonly enabled?: boolean;
  readonly auth: Auth;
  readonly substitutions: readonly Substitution[];
  readonly schemes?: readonly Scheme[];
  readonly methods?: readonly string[];
  readonly scrub?: ScrubMode;
  readonly stripHeaders?: readonly string[];
  readonly setCookie?: "strip" | "pass";
  /** Tunnels to the host keep their TLS: nothing is seen, injected or limited inside. Present only where true. */
  readonly raw?: true;
}
