import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { InvalidInput } from "../errors.ts";

/** Which roots vouch for upstreams. Verification itself cannot be switched off. */

export interface TrustFiles {
  /** PEM files added to the roots. */
  readonly extraFiles: readonly string[];
  /** Replace the default roots, as OpenSSL and Go have it. */
  readonly replacementFile: string | undefined;
  readonly replacementDirectories: readonly string[];
}

/** PEM of both. */
export interface ClientCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** What one vault, or one service, brings to a handshake besides the instance's roots. */
export interface TlsIdentity {
  /** PEM certificates added to the roots. */
  readonly roots: string | undefined;
  /** Shown to an upstream that asks for one. */
  readonly client?: ClientCertificate | undefined;
}

/** Contexts with something of their own that are kept ready; the one made first goes first. */
const maxContexts = 256;

/** Read once at start: parsing 150 roots for each connection would cost more than its handshake. */
export class UpstreamTrust {
  /** With the instance's roots alone. */
  readonly context: SecureContext;
  readonly #roots: readonly string[];
  readonly #contexts = new Map<string, SecureContext>();

  /** @throws {InvalidInput} `unreadable_trust`, naming the file. */
  constructor(files: TrustFiles) {
    this.#roots = listRoots(files);
    this.context = this.#make({ roots: undefined });
  }

  /** The same object for the same identity, and for no other: TLS sessions are tied to it. */
  contextFor({ roots, client }: TlsIdentity): SecureContext {
    if (roots === undefined && client === undefined) return this.context;
    const parts = JSON.stringify([roots, client?.certificate, client?.key]);
    const name = createHash("sha256").update(parts).digest("base64");
    const known = this.#contexts.get(name);
    if (known) return known;
    const context = this.#make({ roots, client });
    this.#contexts.set(name, context);
    const oldest = this.#contexts.keys().next();
    if (this.#contexts.size > maxContexts && !oldest.done) this.#contexts.delete(oldest.value);
    return context;
  }

  #make({ roots, client }: TlsIdentity): SecureContext {
    return createSecureContext({
      ca: [...this.#roots, ...(roots === undefined ? [] : listCertificates(roots))],
      minVersion: "TLSv1.2",
      ...(client ? { cert: client.certificate, key: client.key } : {}),
    });
  }
}

function listRoots(trust: TrustFiles): readonly string[] {
  const replaces = trust.replacementFile !== undefined || trust.replacementDirectories.length > 0;
  const roots = replaces ? [] : [...rootCertificates];
  if (trust.replacementFile !== undefined) roots.push(...readCertificates(trust.replacementFile));
  for (const directory of trust.replacementDirectories) roots.push(...readDirectory(directory));
  for (const file of trust.extraFiles) roots.push(...readCertificates(file));
  return [...new Set(roots)];
}

/** The PEM certificates of a text, in order. */
export function listCertificates(text: string): readonly string[] {
  return text.match(certificate) ?? [];
}

const certificate = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----/g;

function readCertificates(path: string): string[] {
  const found = readText(path).match(certificate);
  if (!found) throw new InvalidInput("unreadable_trust", `${path} holds no PEM certificate`);
  return found;
}

/** Every file of the directory that holds certificates, as Go reads SSL_CERT_DIR; other files are passed over. */
function readDirectory(path: string): string[] {
  try {
    return readdirSync(path)
      .map((name) => join(path, name))
      .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)
      .flatMap((file) => readText(file).match(certificate) ?? []);
  } catch (cause) {
    throw cause instanceof InvalidInput ? cause : unreadable(path, cause);
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): InvalidInput {
  return new InvalidInput("unreadable_trust", `Cannot read certificates from ${path}`, { cause });
}
