import { referencedKeys } from "../../domain/services/definition.ts";
import type { CredentialKey, Service } from "../../domain/services/service.ts";
import type { InjectedValue } from "./needles.ts";

/**
 * What a service puts into requests, so that answers can be searched for it: the value of each credential it names, and
 * for `basic` the pair as well, as text and as base64. A part of the pair may be too short to be looked for, and an
 * upstream that answers in base64 encodes the header once more.
 *
 * Keep the list for as long as the values are kept: what is compiled from it (`needlesFor`) lives as long.
 */
export function injectedValues(service: Service, reveal: (key: CredentialKey) => string): readonly InjectedValue[] {
  const placeholders = new Map(service.substitutions.map(({ key, placeholder }) => [key, placeholder]));
  const values = referencedKeys(service).map((key): InjectedValue => {
    const placeholder = placeholders.get(key);
    return { key, value: reveal(key), ...(placeholder !== undefined && { placeholder }) };
  });
  const { auth } = service;
  if (auth.type !== "basic") return values;
  const pair = `${reveal(auth.username)}:${auth.password === undefined ? "" : reveal(auth.password)}`;
  const key = auth.password ?? auth.username;
  return [...values, { key, value: pair }, { key, value: Buffer.from(pair).toString("base64") }];
}
