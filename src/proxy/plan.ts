import { referencedKeys } from "../domain/services/definition.ts";
import type { CredentialKey, Service } from "../domain/services/service.ts";
import type { Target, VaultSnapshot } from "../domain/vaults/snapshot.ts";
import { Forbidden } from "../errors.ts";
import { bracketed } from "../net/address.ts";
import { sniffAuthentication } from "./headers.ts";
import { comparableName } from "./http1/field-names.ts";
import type { Fields } from "./http1/fields.ts";
import { RefusedRequest } from "./refusal.ts";

/** What is to happen to one request, decided from the vault's snapshot and the target alone. */
export interface Plan {
  /** Undefined when nothing matches and the vault passes such requests through. */
  readonly service: Service | undefined;
  readonly credentialKeys: readonly CredentialKey[];
  /** Comparable names to remove from the agent's request. */
  readonly stripped: ReadonlySet<string> | undefined;
  readonly stripsCookies: boolean;
}

const passthrough: Plan = { service: undefined, credentialKeys: [], stripped: undefined, stripsCookies: false };

/**
 * Some frameworks route by these instead of by the request line (IIS, Symfony, Zend), so a path or a method that a
 * service does not cover would come in by a header. Overriding the path has no honest use from outside of a server;
 * overriding the method has, where the service does not limit methods.
 */
const pathOverrides = ["x-original-url", "x-rewrite-url"];
const methodOverrides = ["x-http-method-override", "x-http-method", "x-method-override"];

/** Services are immutable, so what follows from one is worked out once. */
const plans = new WeakMap<Service, Plan>();

/**
 * @param fields of the request; what they say about its authentication goes into the proposal hint.
 * @throws {Forbidden} `forbidden` (nothing matches, with a proposal hint), `service_disabled`, `scheme_not_allowed`,
 * `method_not_allowed`.
 * @throws {RefusedRequest} `ambiguous_path`.
 */
export function planFor(snapshot: VaultSnapshot, target: Target, fields: Fields | undefined): Plan {
  const outcome = snapshot.match(target);
  switch (outcome.kind) {
    case "service":
      return planOf(outcome.service);
    case "none":
      if (snapshot.unmatchedHostPolicy === "passthrough") return passthrough;
      throw notMatched(snapshot, target, fields);
    case "ambiguous_path":
      throw new RefusedRequest(
        400,
        "ambiguous_path",
        `A service of ${target.host} is limited to a path, and this path can be read in more than one way`,
        "Send the path without dot segments, empty segments, and encoded dots, slashes or backslashes",
      );
    case "disabled":
      throw new Forbidden("service_disabled", `Service "${outcome.service.name}" is disabled`, {
        details: { service: outcome.service.name },
      });
    case "scheme_not_allowed":
      throw new Forbidden(
        "scheme_not_allowed",
        `Service "${outcome.service.name}" sends credentials over https only, and this request is ${target.scheme}`,
        { details: { service: outcome.service.name }, hint: `Use https://${target.host}` },
      );
    case "method_not_allowed":
      throw new Forbidden("method_not_allowed", `Service "${outcome.service.name}" does not allow ${target.method}`, {
        details: { service: outcome.service.name },
      });
  }
}

function planOf(service: Service): Plan {
  const known = plans.get(service);
  if (known) return known;
  const injects = service.auth.type !== "passthrough" || service.substitutions.length > 0;
  const plan: Plan = {
    service,
    credentialKeys: referencedKeys(service),
    stripped: new Set([
      ...(service.stripHeaders ?? []).map(comparableName),
      ...pathOverrides,
      ...(service.methods === undefined ? [] : methodOverrides),
    ]),
    stripsCookies: (service.setCookie ?? (injects ? "strip" : "pass")) === "strip",
  };
  plans.set(service, plan);
  return plan;
}

function notMatched(snapshot: VaultSnapshot, target: Target, fields: Fields | undefined): Forbidden {
  const isDefaultPort = target.port === (target.scheme === "https" ? 443 : 80);
  const { scheme: authScheme } = fields === undefined ? { scheme: "" } : sniffAuthentication(fields);
  const host = isDefaultPort ? target.host : `${bracketed(target.host)}:${target.port}`;
  return new Forbidden("forbidden", `No service of vault "${snapshot.vaultName}" matches ${host}`, {
    details: {
      proposal_hint: {
        host: target.host,
        ...(isDefaultPort ? {} : { port: target.port }),
        path: target.path,
        method: target.method,
        ...(authScheme === "" ? {} : { auth_scheme: authScheme }),
        endpoint: "POST /v1/proposals",
        supported_auth_types: ["bearer", "basic", "api-key", "custom", "passthrough"],
      },
    },
  });
}
