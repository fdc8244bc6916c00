/** What services inject, with credential values in place, kept for a minute so that most requests decrypt nothing. */
import { type AppError, UpstreamFailed } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import { type CredentialResolver, credentialMissing, type SealedCredential } from "../credentials/resolve.ts";
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
const nothing: Injection = { headers: [], values: new Map() };

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

  async #render(service: Service): Promise<Injection> {
    const templates = headerTemplates(service.auth);
    const values = await this.#open(referencedKeys(service));
    const injection = { headers: templates.map((template) => renderOne(template, values)), values };
    const rendered = { injection, expiresAtMs: this.#options.clock.now() + keepMs };
    this.#rendered.set(service, rendered);
    setTimeout(() => {
      if (this.#rendered.get(service) === rendered) this.#rendered.delete(service);
    }, keepMs).unref();
    return injection;
  }

  async #open(keys: readonly CredentialKey[]): Promise<ReadonlyMap<CredentialKey, string>> {
    const { credentials, resolver } = this.#options;
    const missing = keys.filter((key) => !credentials.has(key));
    if (missing.length > 0) throw credentialMissing(missing);
    const opened = keys.map(async (key): Promise<[CredentialKey, string]> => {
      const credential = credentials.get(key);
      if (credential === undefined) throw credentialMissing([key]);
      // The value goes into the request that is being prepared.
      return [key, (await resolver.resolve(credential)).reveal()];
    });
    return new Map(await Promise.all(opened));
  }
}

function renderOne(template: HeaderTemplate, values: ReadonlyMap<CredentialKey, string>): InjectedHeader {
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
