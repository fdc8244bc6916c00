import { expect } from "vitest";

/** Where clouds keep their secrets. */
export const metadata = [
  "169.254.169.254",
  "[::ffff:169.254.169.254]",
  "[64:ff9b::a9fe:a9fe]",
  "[2002:a9fe:a9fe::]",
  "169.254.170.2",
  "100.100.100.200",
  "168.63.129.16",
  "[fd00:ec2::254]",
  "[fd20:ce::254]",
];

/** Refused, and not after a time-out: nothing was dialled. */
export function expectRefusal(status: number): void {
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).not.toBe(504);
}
