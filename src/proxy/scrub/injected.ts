import { referencedKeys } from "../../domain/services/definition.ts";
import type { CredentialKey, Service } from "../../domain/services/service.ts";
import type { InjectedValue } from "./needles.ts";

/**
 * What a service puts into requests, so that answers can be searched for it: the value of each credential it names, and
 * for `basic` the pair as well, as text and as base64. A part of the pair may be too short to be looked for, and an
 * upstream that answers in base64 encodes the header once more.
 *
 * The list is made once for each map, and what is compiled from it (`needlesFor`) once for each list: both live as long
 * as whoever revealed the values keeps that map.
 *
 * @param values of all credentials that the service names, revealed for it alone.
 */
export function injectedValues(service: Service, values: ReadonlyMap<CredentialKey, string>): readonly InjectedValue[] {
  const known = lists.get(values);
  if (known !== undefined) return known;
  const list = listOf(service, values);
  lists.set(values, list);
  return list;
}

const lists = new WeakMap<ReadonlyMap<CredentialKey, string>, readonly InjectedValue[]>();

function listOf(service: Service, values: ReadonlyMap<CredentialKey, string>): readonly InjectedValue[] {
  const placeholders = new Map(service.substitutions.map(({ key, placeholder }) => [key, placeholder]));
  const reveal = (key: CredentialKey) => revealed(values, key);
  const list = referencedKeys(service).map((key): InjectedValue => {
    const placeholder = placeholders.get(key);
    return { key, value: reveal(key), ...(placeholder !== undefined && { placeholder }) };
  });
  const { auth } = service;
  if (auth.type !== "basic") return list;
  const pair = `${reveal(auth.username)}:${auth.password === undefined ? "" : reveal(auth.password)}`;
  const key = auth.password ?? auth.username;
  return [...list, { key, value: pair }, { key, value: Buffer.from(pair).toString("base64") }];
}

/** A value that is missing here would go out as nothing, or come back unseen. */
export function revealed(values: ReadonlyMap<CredentialKey, string>, key: CredentialKey): string {
  const value = values.get(key);
  if (value === undefined) throw new Error(`The value of ${key} was not revealed for this service`);
  return value;
}
