import packageJson from "../../package.json" with { type: "json" };

/** Set by `scripts/build-binaries.ts` through `--define`; not there when running from source. */
declare const AGENT_VAULT_BUILD: { readonly commit: string; readonly date: string } | undefined;

const stamp = typeof AGENT_VAULT_BUILD === "undefined" ? undefined : AGENT_VAULT_BUILD;

/** Is this a path inside of a compiled binary? Its modules are in a folder whose name no real one has. */
export function isInsideBinary(path: string): boolean {
  return /[\\/]\$bunfs[\\/]|[\\/]~BUN[\\/]/.test(path);
}

/** What this program is: version of package.json, short commit and its time (RFC 3339, UTC), or `source`. */
export const buildInfo = {
  version: packageJson.version,
  commit: stamp?.commit ?? "source",
  date: stamp?.date ?? "",
} as const;
