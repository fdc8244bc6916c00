/** The headers that services inject, with credential values in place, kept for a minute so that most requests decrypt nothing. */
import { AppError, UpstreamFailed } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import {
  type CredentialResolver,
  credentialMissing,
  type ResolvedCredential,
  type SealedCredential,
} from "../credentials/resolve.ts";
import { type HeaderTemplate, headerTemplates } from "../services/auth.ts";
import type { CredentialKey, Service } from "../services/service.ts";
import type { InjectedHeader } from "./snapshot.ts";

export interface HeaderRendererOptions {
  readonly credentials: ReadonlyMap<CredentialKey, SealedCredential>;
  readonly resolver: CredentialResolver;
  readonly clock: Clock;
}

/** Plaintext stays in memory no longer than this after it was last opened, whether or not anybody asks again. */
const keepMs = 60_000;
const nothing: readonly InjectedHeader[] = [];

interface Rendered {
  readonly headers: readonly InjectedHeader[];
  readonly expiresAtMs: number;
}

export class HeaderRenderer {
  readonly #options: HeaderRendererOptions;
  readonly #rendered = new Map<Service, Rendered>();
  readonly #rendering = new Map<Service, Promise<readonly InjectedHeader[]>>();

  constructor(options: HeaderRendererOptions) {
    this.#options = options;
  }

  /** See `VaultSnapshot.injectedHeaders`. */
  headersOf(service: Service): readonly InjectedHeader[] | Promise<readonly InjectedHeader[]> {
    if (service.auth.type === "passthrough") return nothing;
    const known = this.#rendered.get(service);
    if (known !== undefined) {
      if (this.#options.clock.now() < known.expiresAtMs) return known.headers;
      this.#rendered.delete(service);
    }
    const running = this.#rendering.get(service);
    if (running !== undefined) return running;
    const rendering = this.#render(service).finally(() => this.#rendering.delete(service));
    this.#rendering.set(service, rendering);
    return rendering;
  }

  /** See `VaultSnapshot.canRenew`. */
  canRenew(service: Service): boolean {
    return this.#renewable(service).length > 0;
  }

  /** See `VaultSnapshot.renewedHeaders`. */
  async renewedHeaders(
    service: Service,
    refused: readonly InjectedHeader[],
  ): Promise<readonly InjectedHeader[] | undefined> {
    const known = this.#rendered.get(service);
    // Somebody else's request was refused before this one, and the next token is here already.
    if (known !== undefined && !isSameList(known.headers, refused)) return known.headers;
    const { resolver } = this.#options;
    try {
      const renewed = new Map<SealedCredential, ResolvedCredential>();
      for (const credential of this.#renewable(service)) {
        const fresh = await resolver.renew(credential);
        if (fresh !== undefined) renewed.set(credential, fresh);
      }
      if (renewed.size === 0) return undefined;
      const headers = await this.#compose(
        service,
        headerTemplates(service.auth),
        async (credential) => renewed.get(credential) ?? (await resolver.resolve(credential)),
      );
      return isSameList(headers, refused) ? undefined : headers;
    } catch (error) {
      // The upstream's refusal is the better answer: it was there first, and the reason for this one is in the log.
      if (error instanceof AppError) return undefined;
      throw error;
    }
  }

  #renewable(service: Service): readonly SealedCredential[] {
    const { credentials, resolver } = this.#options;
    return keysOf(headerTemplates(service.auth)).flatMap((key) => {
      const credential = credentials.get(key);
      return credential !== undefined && resolver.canRenew(credential) ? [credential] : [];
    });
  }

  async #render(service: Service): Promise<readonly InjectedHeader[]> {
    const templates = headerTemplates(service.auth);
    return this.#compose(service, templates, (credential) => this.#options.resolver.resolve(credential));
  }

  /** Puts values into the templates and keeps the result, until a minute has passed or one of the values ends. */
  async #compose(
    service: Service,
    templates: readonly HeaderTemplate[],
    resolve: (credential: SealedCredential) => Promise<ResolvedCredential>,
  ): Promise<readonly InjectedHeader[]> {
    const resolved = await this.#resolveAll(keysOf(templates), resolve);
    const headers = templates.map((template) => renderOne(template, resolved));
    const usableUntilMs = Math.min(...[...resolved.values()].map((one) => one.usableUntilMs));
    const rendered = { headers, expiresAtMs: Math.min(this.#options.clock.now() + keepMs, usableUntilMs) };
    this.#rendered.set(service, rendered);
    setTimeout(() => {
      if (this.#rendered.get(service) === rendered) this.#rendered.delete(service);
    }, keepMs).unref();
    return headers;
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

function keysOf(templates: readonly HeaderTemplate[]): readonly CredentialKey[] {
  return [...new Set(templates.flatMap(({ keys }) => keys))];
}

function isSameList(one: readonly InjectedHeader[], other: readonly InjectedHeader[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ name, value }, at) => other[at]?.name === name && other[at].value === value)
  );
}

function renderOne(template: HeaderTemplate, resolved: ReadonlyMap<CredentialKey, ResolvedCredential>): InjectedHeader {
  // The values go into a header of the request that is being prepared.
  const value = template.render((key) => resolved.get(key)?.value.reveal() ?? "");
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
