/** Which ports agents may reach. */

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

export interface PortPolicy {
  /** When it is given, no other port may be reached. */
  readonly allowed: readonly PortRange[] | undefined;
  /** May not be reached, also where `allowed` names it. */
  readonly denied: readonly PortRange[];
}

/**
 * Ports that nobody serves HTTP on and where something else listens that could take a request for its own protocol:
 * what browsers refuse ("bad port" in the Fetch standard, section 2.9), and two stores that read commands line by line.
 */
export const defaultDeniedPorts = [
  "1,7,9,11,13,15,17,19,20-23,25,37,42,43,53,69,77,79,87,95,101-104,109-111,113,115,117,119,123,135,137,139,143",
  "161,179,389,427,465,512-515,526,530-532,540,548,554,556,563,587,601,636,989,990,993,995",
  "1719,1720,1723,2049,3659,4045,4190,5060,5061,6000,6566,6665-6669,6679,6697,10080",
  "6379,11211",
].join(",");

/** Reads `25,6000-6063`; undefined when an entry is neither a port nor a range of ports. */
export function parsePortRanges(text: string): readonly PortRange[] | undefined {
  const ranges: PortRange[] = [];
  for (const entry of text.split(",").map((part) => part.trim())) {
    if (entry === "") continue;
    const [, first = "", last = first] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(entry) ?? [];
    const range = { from: Number(first), to: Number(last) };
    if (first === "" || range.from < 1 || range.to > 65535 || range.from > range.to) return undefined;
    ranges.push(range);
  }
  return ranges;
}

export function isPortDenied({ allowed, denied }: PortPolicy, port: number): boolean {
  return holds(denied, port) || (allowed !== undefined && !holds(allowed, port));
}

function holds(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some(({ from, to }) => from <= port && port <= to);
}
