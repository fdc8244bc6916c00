import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { InvalidInput } from "../errors.ts";

/** Which roots vouch for upstreams. Verification itself cannot be switched off. */

export interface UpstreamTrust {
  /** PEM files added to the roots. */
  readonly extraFiles: readonly string[];
  /** Replace the default roots, as OpenSSL and Go have it. */
  readonly replacementFile: string | undefined;
  readonly replacementDirectories: readonly string[];
}

/** Read once at start: parsing 150 roots for each connection would cost more than its handshake. */
export function openUpstreamTrust(trust: UpstreamTrust): SecureContext {
  return createSecureContext({ ca: [...listRoots(trust)], minVersion: "TLSv1.2" });
}

/** @throws {InvalidInput} `unreadable_trust`, naming the file. */
function listRoots(trust: UpstreamTrust): readonly string[] {
  const replaces = trust.replacementFile !== undefined || trust.replacementDirectories.length > 0;
  const roots = replaces ? [] : [...rootCertificates];
  if (trust.replacementFile !== undefined) roots.push(...readCertificates(trust.replacementFile));
  for (const directory of trust.replacementDirectories) roots.push(...readDirectory(directory));
  for (const file of trust.extraFiles) roots.push(...readCertificates(file));
  return [...new Set(roots)];
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
