import type { KeyProvider } from "./provider.ts";

/**
 * No wrapping: data keys lie in the database as they are, so whoever reads the database reads everything. For a disk
 * that is trusted; the server says so when it starts.
 */
export const noKeyProvider: KeyProvider = {
  label: "none",
  wrap: async (key) => Uint8Array.from(key),
  unwrap: async (wrapped) => Uint8Array.from(wrapped),
};
