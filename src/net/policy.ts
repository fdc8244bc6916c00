import { networkInterfaces } from "node:os";
import {
  type Cidr,
  cidr,
  cidrHolds,
  embeddedAddresses,
  isLoopback,
  isSpecialAddress,
  parseIp,
  unmapIp,
} from "./address.ts";

/** Which resolved addresses may be dialled (spec of the proxy, section 24). */

/** Whatever is configured, these stay shut: they hand out the machine's own cloud credentials. */
const metadataServices = [
  "169.254.169.254", // AWS, GCP, Azure and most others
  "169.254.170.2", // ECS tasks
  "169.254.170.23", // EKS pods
  "100.100.100.200", // Alibaba
  "168.63.129.16", // Azure's host
  "fd00:ec2::254",
  "fd00:ec2::23",
  "fd20:ce::254", // GCP over IPv6
].map(cidr);

export type Denial = "metadata_service" | "own_listener" | "special_address" | "not_an_address";

export interface NetworkPolicyOptions {
  readonly allowPrivateRanges: boolean;
  /** CIDRs and addresses, already checked by the configuration; consulted only while private ranges are blocked. */
  readonly allowlist: readonly string[];
}

/** A port that this process listens on. */
export interface OwnListener {
  readonly host: string;
  readonly port: number;
}

export class NetworkPolicy {
  readonly #allowPrivateRanges: boolean;
  readonly #allowlist: readonly Cidr[];
  readonly #listeners = new Set<OwnListener>();

  constructor(options: NetworkPolicyOptions) {
    this.#allowPrivateRanges = options.allowPrivateRanges;
    this.#allowlist = options.allowlist.map(cidr);
  }

  /** Shuts a port of ours for as long as we listen on it; returns how to open it again. */
  protect(listener: OwnListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Why `ip` must not be dialled at `port`, or undefined when it may. */
  denies(ip: string, port: number): Denial | undefined {
    const parsed = parseIp(ip);
    if (!parsed) return "not_an_address";
    const address = unmapIp(parsed);
    const reaches = [address, ...embeddedAddresses(address)];
    if (reaches.some((one) => metadataServices.some((range) => cidrHolds(range, one)))) return "metadata_service";
    if (reaches.some((one) => this.#isOwn(one, port))) return "own_listener";
    if (this.#allowPrivateRanges) return undefined;
    if (this.#allowlist.some((range) => cidrHolds(range, address))) return undefined;
    return isSpecialAddress(address) ? "special_address" : undefined;
  }

  /** Any way to this machine counts, also where the listener is bound to another of its addresses. */
  #isOwn(address: Uint8Array, port: number): boolean {
    for (const listener of this.#listeners) {
      if (listener.port !== port) continue;
      if (isLoopback(address) || sameAddress(address, parseIp(listener.host))) return true;
      const local = Object.values(networkInterfaces()).flatMap((infos) => infos ?? []);
      if (local.some((info) => sameAddress(address, parseIp(info.address)))) return true;
    }
    return false;
  }
}

function sameAddress(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return other !== undefined && cidrHolds({ bytes: unmapIp(other), bits: unmapIp(other).length * 8 }, one);
}
