import { isLoopback, parseIp } from "../net/address.ts";

/** A peer on a Unix socket has no address: this stands for one in limits and journal. */
export const socketPeer = "unix";

/** Is it a program of this machine? Containers may be behind one, through a relay. */
export function isOnThisMachine(clientIp: string): boolean {
  if (clientIp === socketPeer) return true;
  const address = parseIp(clientIp);
  return address !== undefined && isLoopback(address);
}
