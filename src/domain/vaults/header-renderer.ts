/** What services inject, with credential values in place, kept for a minute so that most requests decrypt nothing. */
import { AppError, UpstreamFailed } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import {
  type CredentialResolver,
  credentialMissing,
  type ResolvedCredential,
  type SealedCredential,
} from "../credentials/resolve.ts";
import { type HeaderTemplate, headerTemplates } from "../services/auth.ts";
import { referencedKeys } from "../services/definition.ts";
import type { CredentialKey, Service } from "../services/service.ts";
import type { InjectedHeader, Injection } from "./snapshot.ts";

export interface HeaderRendererOptions {
  readonly credentials: ReadonlyMap<CredentialKey, SealedCredential>;
  readonly resolver: CredentialResolver;
  readonly clock: Clock;
}

/** Plaintext stays in memory no longer than this after it was last opened, whether or not anybody asks again. */
const keepMs = 60_000;
const nothing: Injection = { headers: [], values: new Map(), isRenewable: false };

interface Rendered {
  readonly injection: Injection;
  readonly expiresAtMs: number;
}

export class HeaderRenderer {
  readonly #options: HeaderRendererOptions;
  readonly #rendered = new Map<Service, Rendered>();
  readonly #rendering = new Map<Service, Promise<Injection>>();

  constructor(options: HeaderRendererOptions) {
    this.#options = options;
  }

  /** See `VaultSnapshot.injectionFor`. */
  injectionFor(service: Service): Injection | Promise<Injection> {
    if (service.auth.type === "passthrough" && service.substitutions.length === 0) return nothing;
    const known = this.#rendered.get(service);
    if (known !== undefined) {
      if (this.#options.clock.now() < known.expiresAtMs) return known.injection;
      this.#rendered.delete(service);
    }
    const running = this.#rendering.get(service);
    if (running !== undefined) return running;
    const rendering = this.#render(service).finally(() => this.#rendering.delete(service));
    this.#rendering.set(service, rendering);
    return rendering;
  }

  /** See `VaultSnapshot.renewedInjection`. */
  async renewedInjection(service: Service, refused: Injection): Promise<Injection | undefined> {
    const known = this.#rendered.get(service);
    // Somebody else's request was refused before this one, and the next token is here already.
    if (known !== undefined && !isSameList(known.injection.headers, refused.headers)) return known.injection;
    const { resolver } = this.#options;
    try {
      const renewed = new Map<SealedCredential, ResolvedCredential>();
      for (const credential of this.#renewable(service)) {
        const fresh = await resolver.renew(credential);
        if (fresh !== undefined) renewed.set(credential, fresh);
      }
      if (renewed.size === 0) return undefined;
      const injection = await this.#compose(
        service,
        async (credential) => renewed.get(credential) ?? (await resolver.resolve(credential)),
      );
      return isSameList(injection.headers, refused.headers) ? undefined : injection;
    } catch (error) {
      // The upstream's refusal is the better answer: it was there first, and the reason for this one is in the log.
      if (error instanceof AppError) return undefined;
      throw error;
    }
  }

  #renewable(service: Service): readonly SealedCredential[] {
    const { credentials, resolver } = this.#options;
    return referencedKeys(service).flatMap((key) => {
      const credential = credentials.get(key);
      return credential !== undefined && resolver.canRenew(credential) ? [credential] : [];
    });
  }

  async #render(service: Service): Promise<Injection> {
    return this.#compose(service, (credential) => this.#options.resolver.resolve(credential));
  }

  /** Puts values into the templates and keeps the result, until a minute has passed or one of the values ends. */
  async #compose(
    service: Service,
    resolve: (credential: SealedCredential) => Promise<ResolvedCredential>,
  ): Promise<Injection> {
    const resolved = await this.#resolveAll(referencedKeys(service), resolve);
    // The values go into the request that is being prepared.
    const values = new Map([...resolved].map(([key, { value }]) => [key, value.reveal()]));
    const headers = headerTemplates(service.auth).map((template) => renderOne(template, values));
    const injection = { headers, values, isRenewable: this.#renewable(service).length > 0 };
    const usableUntilMs = Math.min(...[...resolved.values()].map((one) => one.usableUntilMs));
    const rendered = { injection, expiresAtMs: Math.min(this.#options.clock.now() + keepMs, usableUntilMs) };
    this.#rendered.set(service, rendered);
    setTimeout(() => {
      if (this.#rendered.get(service) === rendered) this.#rendered.delete(service);
    }, keepMs).unref();
    return injection;
  }

  async #resolveAll(
    keys: readonly CredentialKey[],
    resolve: (credential: SealedCredential) => Promise<ResolvedCredential>,
  ): Promise<ReadonlyMap<CredentialKey, ResolvedCredential>> {
    const { credentials } = this.#options;
    const missing = keys.filter((key) => !credentials.has(key));
    if (missing.length > 0) throw credentialMissing(missing);
    const resolved = keys.map(async (key): Promise<[CredentialKey, ResolvedCredential]> => {
      const credential = credentials.get(key);
      if (credential === undefined) throw credentialMissing([key]);
      return [key, await resolve(credential)];
    });
    return new Map(await Promise.all(resolved));
  }
}

function isSameList(one: readonly InjectedHeader[], other: readonly InjectedHeader[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ name, value }, at) => other[at]?.name === name && other[at].value === value)
  );
}

function renderOne(template: HeaderTemplate, values: ReadonlyMap<CredentialKey, string>): InjectedHeader {
  // The values go into a header of the request that is being prepared.
  const value = template.render((key) => values.get(key) ?? "");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 9110, section 5.5: a field value holds no control characters but HTAB
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) throw unusable(template.keys);
  return { name: template.name, value: toBytes(value) };
}

/** Field values are bytes; text beyond ASCII goes out as UTF-8, one character of the result per byte. */
function toBytes(value: string): string {
  return /^[\u0020-\u007e\t]*$/.test(value) ? value : Buffer.from(value, "utf8").toString("latin1");
}

function unusable(keys: readonly CredentialKey[]): AppError {
  return new UpstreamFailed(
    "credential_unusable",
    `The value of ${keys.join(", ")} holds a line break or another control character, which no header may carry: set it again without`,
    { details: { credential_keys: keys } },
  );
}
