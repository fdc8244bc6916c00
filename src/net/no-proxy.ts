import { type Cidr, cidrHolds, isLoopback, parseCidr, parseHost, parseIp, parsePort, unmapIp } from "./address.ts";

/** Which targets are reached without the egress proxy: `NO_PROXY`, read as Go and curl read it. */

/** Undefined port: any. */
type Exception =
  | { readonly kind: "all" }
  | { readonly kind: "network"; readonly network: Cidr; readonly port: number | undefined }
  | {
      readonly kind: "name";
      readonly suffix: string;
      readonly exact: string | undefined;
      readonly port: number | undefined;
    };

export class NoProxy {
  readonly #exceptions: readonly Exception[];

  private constructor(exceptions: readonly Exception[]) {
    this.#exceptions = exceptions;
  }

  /**
   * Reads a list separated by commas or spaces: `*`; names with what is below them (`example.com`) or only that
   * (`.example.com`, `*.example.com`); addresses and networks; each but the networks with a port where only that is
   * meant.
   *
   * @returns the first entry that cannot be read, as a text
   */
  static parse(text: string): NoProxy | string {
    const exceptions: Exception[] = [];
    for (const entry of text.split(/[\s,]+/).filter((part) => part !== "")) {
      const exception = parseException(entry);
      if (!exception) return entry;
      exceptions.push(exception);
    }
    return new NoProxy(exceptions);
  }

  /** This machine itself is never asked for through another one. */
  covers(host: string, port: number): boolean {
    const ip = parseIp(host);
    if (ip ? isLoopback(ip) : host === "localhost" || host.endsWith(".localhost")) return true;
    return this.#exceptions.some((exception) => {
      if (exception.kind === "all") return true;
      if (exception.port !== undefined && exception.port !== port) return false;
      if (exception.kind === "network") return ip !== undefined && cidrHolds(exception.network, unmapIp(ip));
      return ip === undefined && (host === exception.exact || host.endsWith(exception.suffix));
    });
  }
}

function parseException(entry: string): Exception | undefined {
  if (entry === "*") return { kind: "all" };
  const network = parseCidr(entry);
  if (network) return { kind: "network", network, port: undefined };
  const { host, port } = splitPort(entry);
  const ip = parseIp(host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host);
  if (ip) {
    const bytes = unmapIp(ip);
    return { kind: "network", network: { bytes, bits: bytes.length * 8 }, port };
  }
  const isSuffix = /^\*?\./.test(host);
  try {
    const name = parseHost(isSuffix ? host.replace(/^\*?\./, "") : host);
    return { kind: "name", suffix: `.${name}`, exact: isSuffix ? undefined : name, port };
  } catch {
    return undefined;
  }
}

function splitPort(entry: string): { readonly host: string; readonly port: number | undefined } {
  const [, host, digits] = /^(\[[^\]]*\]|[^:]*):([0-9]+)$/.exec(entry) ?? [];
  if (host === undefined || digits === undefined) return { host: entry, port: undefined };
  try {
    return { host, port: parsePort(digits) };
  } catch {
    // No name holds a colon: the entry is refused as a whole.
    return { host: entry, port: undefined };
  }
}
