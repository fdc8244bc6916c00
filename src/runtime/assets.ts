import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { NotFound } from "../errors.ts";
import { isInsideBinary } from "./build-info.ts";

/**
 * Where the files that ship with the product are.
 *
 * `bun build --compile --asset DIR` puts them beside the bundled modules; in a checkout they are two levels above this
 * file.
 */
const root = isInsideBinary(`${import.meta.dirname}/`) ? import.meta.dirname : join(import.meta.dirname, "..", "..");

/**
 * Paths of all files below a folder such as `catalog` or `web/dist`, relative to it, with `/`, sorted.
 * A folder that is not there holds nothing: the web UI is absent until it has been built.
 */
export function listAssets(folder: string): readonly string[] {
  let entries: ReturnType<typeof readFolder>;
  try {
    entries = readFolder(join(root, folder));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return entries.sort();
}

/** The bytes of one file, named from the top of the checkout: `catalog/stripe.json`. @throws {NotFound} */
export function readAsset(path: string): Uint8Array {
  try {
    return readFileSync(join(root, path));
  } catch (cause) {
    throw new NotFound("asset_not_found", `This build has no file "${path}"`, { cause });
  }
}

/** As `readAsset`, decoded as UTF-8. @throws {NotFound} */
export function readAssetText(path: string): string {
  return new TextDecoder().decode(readAsset(path));
}

/** The binary's own file system knows no entry types, so a folder is told from a file by reading it. */
function readFolder(folder: string, prefix = ""): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    try {
      return readFolder(path, `${prefix}${name}/`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return [`${prefix}${name}`];
      throw error;
    }
  });
}
