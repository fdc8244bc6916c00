/** The certificate files of a child: the broker's root alone, a bundle with the system's roots, and a wgetrc. */
import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { UpstreamFailed } from "../../errors.ts";
import { dataDirectoryOf, findText, openDataDirectory, writeAtomically } from "../../runtime/files.ts";
import { type Environment, systemRootFiles } from "../../runtime/process.ts";

export interface TrustFiles {
  readonly rootFile: string;
  readonly bundleFile: string;
  readonly wgetrcFile: string;
}

/**
 * Writes the files below the data directory, named by the root's fingerprint so that runs against different servers
 * do not disturb each other. @throws {UpstreamFailed} when `pem` is no certificate.
 */
export async function writeTrustFiles(
  pem: string,
  { home, environment }: { home: string; environment: Environment },
): Promise<TrustFiles> {
  const directory = await openDataDirectory(dataDirectoryOf(home));
  const name = `mitm-ca-${fingerprintOf(pem)}`;
  const files = {
    rootFile: join(directory, `${name}.pem`),
    bundleFile: join(directory, `${name}-bundle.pem`),
    wgetrcFile: join(directory, `${name}.wgetrc`),
  };
  const bundle = `${(await readSystemRoots(environment)).trimEnd()}\n${pem.trimEnd()}\n`.trimStart();
  const usersWgetrc = await findText(environment.WGETRC || join(home, ".wgetrc"));
  await writeIfNew(files.rootFile, pem);
  await writeIfNew(files.bundleFile, bundle);
  // Ours comes last: for wget the last line wins.
  await writeIfNew(
    files.wgetrcFile,
    `${usersWgetrc ? `${usersWgetrc.trimEnd()}\n` : ""}ca_certificate = ${files.bundleFile}\n`,
  );
  return files;
}

/** The first 16 hex digits of the certificate's SHA-256. */
function fingerprintOf(pem: string): string {
  try {
    return createHash("sha256").update(new X509Certificate(pem).raw).digest("hex").slice(0, 16);
  } catch (cause) {
    throw new UpstreamFailed("bad_root_certificate", "The server's root certificate cannot be read", { cause });
  }
}

/** What the user trusts already counts as the system's roots: a company's own CA stays trusted. */
async function readSystemRoots(environment: Environment): Promise<string> {
  for (const file of [environment.SSL_CERT_FILE, ...systemRootFiles]) {
    const text = file ? await findText(file) : undefined;
    if (text?.includes("BEGIN CERTIFICATE")) return text;
  }
  return "";
}

async function writeIfNew(file: string, content: string): Promise<void> {
  if ((await findText(file)) !== content) await writeAtomically(file, content, 0o600);
}
