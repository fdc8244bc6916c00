import { Resolver as CaresResolver, lookup } from "node:dns/promises";

/** Who is asked for the addresses of a name. */

export interface DnsAnswer {
  /** Empty when there is certainly no address: the name does not exist, or has none. */
  readonly addresses: readonly string[];
  /** How long the answer holds; undefined where nobody said. */
  readonly ttlMs: number | undefined;
}

/** Rejects when nobody could say: a server that is silent, or broken. */
export type ResolveName = (host: string) => Promise<DnsAnswer>;

/** The system's resolver: `/etc/hosts` and everything else that `nsswitch.conf` names. It tells no time to live. */
export async function resolveWithSystem(host: string): Promise<DnsAnswer> {
  try {
    const answers = await lookup(host, { all: true });
    return { addresses: answers.map(({ address }) => address), ttlMs: undefined };
  } catch (error) {
    if (isNoAddress(error)) return { addresses: [], ttlMs: undefined };
    throw error;
  }
}

/** A server that answers IPv4 at once and IPv6 never must not delay every request (RFC 8305, section 3). */
const otherFamilyMs = 50;

/**
 * Asks these servers and nothing else, for both families at once, and takes over their time to live.
 *
 * @param servers addresses, with a port where it is not 53: `10.0.0.2`, `127.0.0.1:5353`, `[::1]:5353`
 */
export function resolveWithServers(servers: readonly string[]): ResolveName {
  return async (host) => {
    // A resolver of its own for each name: Bun's keeps answers by itself, where nobody could make it forget one.
    const resolver = new CaresResolver({ timeout: 2_000, tries: 2 });
    resolver.setServers([...servers]);
    const ipv6 = settle(resolver.resolve6(host, { ttl: true }));
    const ipv4 = settle(resolver.resolve4(host, { ttl: true }));
    const first = await Promise.race([ipv6, ipv4]);
    const late = first.records.length > 0 ? pause(otherFamilyMs) : undefined;
    const answers = await Promise.all(
      // A family that fails, or is late, is left out as long as the other one has an address.
      late === undefined ? [ipv6, ipv4] : [Promise.race([ipv6, late]), Promise.race([ipv4, late])],
    );
    const records = answers.flatMap((answer) => answer?.records ?? []);
    const failure = answers.find((answer) => answer?.failure !== undefined)?.failure;
    if (records.length === 0 && failure !== undefined) throw failure;
    return {
      addresses: records.map(({ address }) => address),
      ttlMs: records.length === 0 ? undefined : Math.min(...records.map(({ ttl }) => ttl)) * 1000,
    };
  };
}

interface FamilyAnswer {
  readonly records: readonly { readonly address: string; readonly ttl: number }[];
  readonly failure?: unknown;
}

async function settle(asking: Promise<FamilyAnswer["records"]>): Promise<FamilyAnswer> {
  try {
    return { records: await asking };
  } catch (failure) {
    return isNoAddress(failure) ? { records: [] } : { records: [], failure };
  }
}

/** "No such name" and "no address of this family": answers, not failures. */
function isNoAddress(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOTFOUND" || code === "ENODATA";
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(undefined), ms).unref();
  });
}
