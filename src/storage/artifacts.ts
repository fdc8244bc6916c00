/** Small texts that are kept outside of the database, through unstorage: in a folder, which may be another volume. */
import type { Storage } from "unstorage";

export class Artifacts {
  readonly #storage: Storage;

  private constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** @param folder is made when the first text is written. */
  static async open(folder: string): Promise<Artifacts> {
    // Only who keeps something pays for loading it.
    const [{ createStorage }, { default: fsDriver }] = await Promise.all([
      import("unstorage"),
      import("unstorage/drivers/fs-lite"),
    ]);
    return new Artifacts(createStorage({ driver: fsDriver({ base: folder }) }));
  }

  /** @param key parts with `/` between them. */
  async write(key: string, text: string): Promise<void> {
    // Raw: unstorage would take a text that looks like JSON for a value, and read it back as one.
    await this.#storage.setItemRaw(key, text);
  }

  async find(key: string): Promise<string | undefined> {
    const bytes: unknown = await this.#storage.getItemRaw(key);
    if (bytes === null || bytes === undefined) return undefined;
    return typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes as Uint8Array);
  }

  async remove(key: string): Promise<void> {
    await this.#storage.removeItem(key);
  }

  /** Keys below a folder, in their order. */
  async list(folder: string): Promise<readonly string[]> {
    const keys = await this.#storage.getKeys(folder.replaceAll("/", ":"));
    return keys.map((key) => key.replaceAll(":", "/")).sort();
  }
}
