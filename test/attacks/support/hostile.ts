import { expect } from "vitest";
import type { Script } from "./raw-upstream.ts";
import { hosts, type Stage } from "./stage.ts";

export const ok = "HTTP/1.1 200 OK\r\n";

/** One request to the upstream with TLS, for a tunnel. */
export function requestTo(stage: Stage, path: string, method = "GET", head = "", body = ""): string {
  return `${method} ${path} HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${head}\r\n${body}`;
}

export function thenEnd(bytes: string): Script {
  return (connection) => {
    connection.send(bytes);
    setTimeout(() => connection.end(), 100);
  };
}

export async function until(isReached: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !isReached(); i += 1) await new Promise((resolve) => setTimeout(resolve, 25));
  expect(isReached()).toBe(true);
}
