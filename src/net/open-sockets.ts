import type { Socket } from "node:net";

/** How a socket came to be allowed, to ask again when the rules have changed. */
export interface Way<T> {
  readonly vaultId: string;
  readonly facts: T;
}

/** The open connections of each vault. */
export class OpenSockets<T> {
  readonly #byVault = new Map<string, Map<Socket, T>>();

  add(socket: Socket, { vaultId, facts }: Way<T>): void {
    const known = this.#byVault.get(vaultId) ?? new Map<Socket, T>();
    this.#byVault.set(vaultId, known);
    known.set(socket, facts);
    socket.once("close", () => {
      known.delete(socket);
      if (known.size === 0 && this.#byVault.get(vaultId) === known) this.#byVault.delete(vaultId);
    });
  }

  get vaultIds(): readonly string[] {
    return [...this.#byVault.keys()];
  }

  has(vaultId: string): boolean {
    return this.#byVault.has(vaultId);
  }

  /** Cuts those of a vault that are not allowed any more. */
  closeUnless(vaultId: string, isAllowed: (facts: T) => boolean): void {
    for (const [socket, facts] of this.#byVault.get(vaultId) ?? []) if (!isAllowed(facts)) socket.destroy();
  }
}
