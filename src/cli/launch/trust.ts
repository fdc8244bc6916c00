/** The certificate files of a child: the broker's roots alone, a bundle with the system's, a wgetrc and a curlrc. */
import { createHash, X509Certificate } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { UpstreamFailed } from "../../errors.ts";
import { dataDirectoryOf, findText, openDataDirectory, writeAtomically } from "../../runtime/files.ts";
import { type Environment, systemRootFiles } from "../../runtime/process.ts";

export interface TrustFiles {
  readonly rootFile: string;
  readonly bundleFile: string;
  readonly wgetrcFile: string;
  /** With a `.curlrc`: curl reads no variable for the authorities of a proxy with TLS. */
  readonly curlHome: string;
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
    curlHome: join(directory, `${name}-curl`),
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
  await mkdir(files.curlHome, { recursive: true, mode: 0o700 });
  const usersCurlrc = await findCurlrc(environment, home);
  await writeIfNew(
    join(files.curlHome, ".curlrc"),
    `${usersCurlrc ? `${usersCurlrc.trimEnd()}\n` : ""}proxy-cacert = ${JSON.stringify(files.bundleFile)}\n`,
  );
  return files;
}

/** Where curl looks, in its order. */
async function findCurlrc(environment: Environment, home: string): Promise<string | undefined> {
  for (const directory of [environment.CURL_HOME, environment.XDG_CONFIG_HOME, home]) {
    const text = directory ? await findText(join(directory, ".curlrc")) : undefined;
    if (text !== undefined) return text;
  }
  return undefined;
}

/** The first 16 hex digits of the certificate's SHA-256; of all, where there are several during a rotation. */
function fingerprintOf(pem: string): string {
  try {
    const hash = createHash("sha256");
    for (const one of splitPem(pem)) hash.update(new X509Certificate(one).raw);
    return hash.digest("hex").slice(0, 16);
  } catch (cause) {
    throw new UpstreamFailed("bad_root_certificate", "The server's root certificate cannot be read", { cause });
  }
}

/** The certificates of a PEM text, one by one; the text itself where it holds none. */
export function splitPem(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [pem];
}

/** What the user trusts already counts as the system's roots: a company's own CA stays trusted. */
export async function readSystemRoots(environment: Environment): Promise<string> {
  for (const file of [environment.SSL_CERT_FILE, ...systemRootFiles]) {
    const text = file ? await findText(file) : undefined;
    if (text?.includes("BEGIN CERTIFICATE")) return text;
  }
  return "";
}

async function writeIfNew(file: string, content: string): Promise<void> {
  if ((await findText(file)) !== content) await writeAtomically(file, content, 0o600);
}
