/**
 * `fetch` that never goes through a proxy of the environment.
 *
 * The command line often runs inside `agent-vault run`, whose proxy variables point at the broker: a management call
 * sent through it would ask the vault to broker itself. Bun switches the proxy off per request; Node and Deno only
 * where the dispatcher is chosen, so there undici is asked directly.
 */
export async function directFetch(url: string | URL, init: RequestInit = {}): Promise<Response> {
  if ("Bun" in globalThis) return fetch(url, { ...init, proxy: false } as unknown as RequestInit);
  const undici = await import("undici/index.js");
  const dispatcher = new undici.Agent({ connections: 1, pipelining: 0, keepAliveTimeout: 1 });
  const answer = await undici.fetch(url, { ...(init as object), dispatcher });
  return answer as unknown as Response;
}
