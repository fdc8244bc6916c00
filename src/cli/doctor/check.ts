/** What the doctor found about one thing. */

export type Verdict = "ok" | "warning" | "failed" | "skipped";

export interface Check {
  readonly group: "server" | "identity" | "vault" | "proxy" | "clients";
  /** A stable word for programs: `server_reachable`, or the name of a client. */
  readonly name: string;
  readonly verdict: Verdict;
  /** One sentence for people. */
  readonly message: string;
  /** What would help. */
  readonly hint?: string;
  /** clients: the variables that it reads, and whether `run` sets each. */
  readonly variables?: readonly { readonly name: string; readonly is_set_by_run: boolean }[];
}

export function check(
  group: Check["group"],
  name: string,
  verdict: Verdict,
  message: string,
  more: { readonly hint?: string | undefined; readonly variables?: Check["variables"] } = {},
): Check {
  const { hint, variables } = more;
  return { group, name, verdict, message, ...(hint ? { hint } : {}), ...(variables ? { variables } : {}) };
}
