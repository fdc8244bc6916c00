import { networkInterfaces } from "node:os";
import { type Cidr, cidr, cidrCovers, cidrHolds, isLoopback, parseCidr, parseIp, unmapIp } from "./address.ts";
import { isPortDenied, type PortPolicy } from "./ports.ts";
import { embeddedAddresses, isMetadataService, isSpecialAddress, isSpecialName } from "./special-address.ts";

/** Which resolved addresses and which ports may be dialled (spec of the proxy, section 24). */

export type Denial =
  | "metadata_service"
  | "own_listener"
  | "special_address"
  | "not_an_address"
  | "special_name"
  | "port";

export interface NetworkPolicyOptions {
  readonly allowPrivateRanges: boolean;
  /** CIDRs and addresses, already checked by the configuration; consulted only while private ranges are blocked. */
  readonly allowlist: readonly string[];
  /** What a vault may open for itself beyond that. */
  readonly vaultAllowlist?: readonly string[];
  /** Every port, unless it is said otherwise. */
  readonly ports?: PortPolicy;
}

/** A port that this process listens on. */
export interface OwnListener {
  readonly host: string;
  readonly port: number;
}

const everyPort: PortPolicy = { allowed: undefined, denied: [] };

export class NetworkPolicy {
  readonly #allowPrivateRanges: boolean;
  readonly #allowlist: readonly Cidr[];
  readonly #vaultAllowlist: readonly Cidr[];
  readonly #ports: PortPolicy;
  readonly #listeners = new Set<OwnListener>();

  constructor(options: NetworkPolicyOptions) {
    this.#allowPrivateRanges = options.allowPrivateRanges;
    this.#allowlist = options.allowlist.map(cidr);
    this.#vaultAllowlist = (options.vaultAllowlist ?? []).map(cidr);
    this.#ports = options.ports ?? everyPort;
  }

  /** Shuts a port of ours for as long as we listen on it; returns how to open it again. */
  protect(listener: OwnListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Why nothing at `port` may be dialled, or undefined when that depends on the address. */
  deniesPort(port: number): Denial | undefined {
    return isPortDenied(this.#ports, port) ? "port" : undefined;
  }

  /**
   * Why `ip` must not be dialled at `port`, or undefined when it may.
   *
   * @param networks the special networks that the vault wants to reach; undefined for what the instance allows every
   * vault. Whatever it names, nothing is opened that `mayOpen` would refuse.
   */
  denies(ip: string, port: number, networks?: readonly Cidr[]): Denial | undefined {
    const parsed = parseIp(ip);
    if (!parsed) return "not_an_address";
    const address = unmapIp(parsed);
    const denial = this.deniesPort(port) ?? this.#deniesAlways(address, port);
    if (denial) return denial;
    return isSpecialAddress(address) && !this.#isOpen(address, networks) ? "special_address" : undefined;
  }

  /**
   * Why a name must not be asked for at `port`, where another program resolves it and no address can be checked: names
   * of this machine and of metadata services.
   */
  deniesName(host: string, port: number): Denial | undefined {
    return this.deniesPort(port) ?? (isSpecialName(host) ? "special_name" : undefined);
  }

  /** Why the operator's own choice of an egress proxy cannot be right: a way back into this process, or to the cloud. */
  deniesEgressProxy(ip: string, port: number): Denial | undefined {
    const parsed = parseIp(ip);
    return parsed ? this.#deniesAlways(unmapIp(parsed), port) : "not_an_address";
  }

  /** May a vault open this network for itself? Never more than the instance allows. */
  mayOpen(network: string): boolean {
    const wanted = parseCidr(network);
    if (!wanted) return false;
    if (this.#allowPrivateRanges) return true;
    return [...this.#allowlist, ...this.#vaultAllowlist].some((range) => cidrCovers(range, wanted));
  }

  /** Whatever is configured, these stay shut. */
  #deniesAlways(address: Uint8Array, port: number): Denial | undefined {
    const reaches = [address, ...embeddedAddresses(address)];
    if (reaches.some(isMetadataService)) return "metadata_service";
    return reaches.some((one) => this.#isOwn(one, port)) ? "own_listener" : undefined;
  }

  #isOpen(address: Uint8Array, networks: readonly Cidr[] | undefined): boolean {
    const isHeld = (ranges: readonly Cidr[]) => ranges.some((range) => cidrHolds(range, address));
    const isOpenForAll = this.#allowPrivateRanges || isHeld(this.#allowlist);
    if (networks === undefined) return isOpenForAll;
    return isHeld(networks) && (isOpenForAll || isHeld(this.#vaultAllowlist));
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
