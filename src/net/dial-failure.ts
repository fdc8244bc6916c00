import { UpstreamFailed } from "../errors.ts";
import { type Authority, formatAuthority } from "./address.ts";
import { DialFailed } from "./dial.ts";
import type { Denial } from "./policy.ts";

/** Why an upstream could not be reached, as the agent and the journal get to know it. */

/** Codes that `Outbound` throws; the journal shows them. */
export type DialCode =
  | "dns_failed"
  | "connect_refused"
  | "connect_timeout"
  | "connect_failed"
  | "tls_failed"
  | "tls_timeout"
  | "tls_verification_failed"
  | "blocked_by_network_policy"
  | "egress_proxy_failed";

export function failed(
  code: DialCode,
  message: string,
  options: { status?: 502 | 504; cause?: unknown; hint?: string } = {},
): UpstreamFailed {
  return new UpstreamFailed(code, message, options);
}

/** A denial by the policy, or one that came in between. */
type Reason = Denial | "settings_changed";

const reasons: Readonly<Record<Reason, string>> = {
  metadata_service: "it is a cloud metadata service",
  own_listener: "it is this server itself",
  special_address: "its address is private or reserved",
  special_name: "the name stands for a private address",
  not_an_address: "its address is not understood",
  port: "agents may not reach this port",
  settings_changed: "the settings of the vault changed while it was dialled",
};

const hints: Readonly<Partial<Record<Reason, string>>> = {
  special_address:
    "An operator can open private networks with AGENT_VAULT_NETWORK_ALLOWLIST or AGENT_VAULT_ALLOW_PRIVATE_RANGES, an admin of the vault those that are offered with its setting network_allowlist",
  port: "An operator can open ports with AGENT_VAULT_DENIED_PORTS",
};

export function blocked(target: Authority, denial: Reason): UpstreamFailed {
  const hint = hints[denial];
  return failed(
    "blocked_by_network_policy",
    `The network policy does not allow ${formatAuthority(target)}: ${reasons[denial]}`,
    hint === undefined ? {} : { hint },
  );
}

/** A failed dial as a sentence about the target; anything else stays what it is. */
export function describeDial(target: Authority, error: unknown): unknown {
  if (!(error instanceof DialFailed)) return error;
  const name = formatAuthority(target);
  const { cause } = error;
  if (error.reason === "refused") return failed("connect_refused", `${name} refused the connection`, { cause });
  if (error.reason === "unreachable") return failed("connect_failed", `${name} could not be reached`, { cause });
  return failed("connect_timeout", `${name} did not accept the connection in time`, { status: 504 });
}
