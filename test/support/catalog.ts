/** Templates of the catalog, and the services that clients make of them. */
import type { Template } from "../../src/client/wire.ts";
import { listAssets, readAssetText } from "../../src/runtime/assets.ts";

export interface CatalogFile extends Template {
  readonly category: string;
  readonly docs: string;
  readonly suggested_credential_key: string;
}

export function readTemplate(id: string): CatalogFile {
  return JSON.parse(readAssetText(`catalog/${id}.json`)) as CatalogFile;
}

export function readTemplates(): readonly { readonly file: string; readonly template: CatalogFile }[] {
  const files = listAssets("catalog").filter((file) => file !== "schema.json");
  return files.map((file) => ({ file, template: readTemplate(file.replace(/\.json$/, "")) }));
}

/** What the forms of the web client and the command line fill in from a template. */
export function seedService(template: CatalogFile): unknown {
  const { auth_type: type, suggested_credential_key: key, suggested_username_key: username } = template;
  const { header, prefix, headers } = template;
  const fields = { bearer: { token: key }, basic: { username, password: key }, "api-key": { key } }[type];
  return {
    name: template.id.length < 3 ? `${template.id}-api` : template.id,
    host: template.host,
    auth: { type, ...fields, header, prefix, headers },
    substitutions: template.substitutions,
    strip_headers: template.strip_headers,
  };
}
