/**
 * What protects the data keys at rest. One file per provider beside this one; every provider passes
 * `test/conformance/key-provider.ts`.
 */
export interface KeyProvider {
  /** Stored as the mode of the instance: `password`, `none`, or the name of a key service. */
  readonly label: string;
  /**
   * `context` names the instance and the number of the data key. A key wrapped under one context must not open under
   * another, unless the provider protects nothing at all. Leaves `key` as it is.
   */
  wrap(key: Uint8Array, context: string): Promise<Uint8Array>;
  /** Undefined when this provider, with this secret and context, did not wrap it. Owned by the caller, who zeroes it. */
  unwrap(wrapped: Uint8Array, context: string): Promise<Uint8Array | undefined>;
}

/** The context of a data key: unambiguous, because neither part can hold a slash. */
export function dataKeyContext(instanceId: string, number: number): string {
  return `agent-vault/data-key/${instanceId}/${number}`;
}
