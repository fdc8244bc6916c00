/** A service as the audit log has it. */
import { formatService } from "./definition.ts";
import type { Auth, Service } from "./service.ts";

const reference = /\{\{\s*(\w+)\s*\}\}/g;

/**
 * The wire form without the free text of headers: people write keys there that belong into a credential, and the log
 * is kept for ever. Names of headers and of credentials stay.
 */
export function auditForm(service: Service): Record<string, unknown> {
  return { ...formatService(service), auth: withoutText(service.auth) };
}

function withoutText(auth: Auth): object {
  switch (auth.type) {
    case "custom":
      return { ...auth, headers: Object.fromEntries(Object.entries(auth.headers).map(onlyReferences)) };
    case "api-key":
      return auth.prefix === undefined ? auth : { ...auth, prefix: "…" };
    case "bearer":
    case "basic":
    case "passthrough":
      return auth;
  }
}

function onlyReferences([name, template]: [string, string]): [string, string] {
  const keys = [...template.matchAll(reference)].map(([, key]) => `{{ ${key} }}`);
  const text = template.replace(reference, "").trim();
  return [name, [...(text === "" ? [] : ["…"]), ...keys].join(" ")];
}
