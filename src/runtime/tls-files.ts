import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { InvalidInput, messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import { createServerContext, type SecureContext } from "./tls.ts";

export interface TlsFilesOptions {
  /** PEM: the certificate, and behind it those that lead to its root. */
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly log: Logger;
  /** How often the files are looked at. */
  readonly everyMs?: number;
}

/**
 * A server's certificate and key from files that somebody else renews. They are looked at again and again rather than
 * watched: secrets are replaced through links, which watching a file does not see. A pair that does not fit is logged
 * and the one before stays, so that a renewal caught half-way does no harm.
 */
export class TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #timer: NodeJS.Timeout;
  #context: SecureContext;
  #seen: string;
  #looking: Promise<void> = Promise.resolve();

  private constructor(options: TlsFilesOptions, context: SecureContext, seen: string) {
    this.#options = options;
    this.#context = context;
    this.#seen = seen;
    this.#timer = setInterval(() => void this.look(), options.everyMs ?? 5_000);
    this.#timer.unref();
  }

  /** @throws {InvalidInput} `bad_tls_files`, naming the file. */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    const seen = await markOf(options);
    return new TlsFiles(options, await load(options), seen);
  }

  /** For the next handshake. */
  get context(): SecureContext {
    return this.#context;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks once, now; never rejects. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#reloadIfChanged());
    return this.#looking;
  }

  async #reloadIfChanged(): Promise<void> {
    const { log, certificateFile } = this.#options;
    // What is wrong with a pair is said once: its mark is remembered, too.
    const seen = await markOf(this.#options);
    if (seen === this.#seen) return;
    this.#seen = seen;
    try {
      this.#context = await load(this.#options);
      log.info("the proxy's certificate was read again", { file: certificateFile });
    } catch (error) {
      log.warn("the proxy's new certificate cannot be used; the one before stays", { reason: messageOf(error) });
    }
  }
}

/** Changes whenever one of the files does. */
async function markOf({ certificateFile, keyFile }: TlsFilesOptions): Promise<string> {
  const marks = [certificateFile, keyFile].map(async (file) => {
    try {
      const { ino, size, mtimeMs } = await stat(file);
      return `${ino} ${size} ${mtimeMs}`;
    } catch (error) {
      return messageOf(error);
    }
  });
  return (await Promise.all(marks)).join("\n");
}

async function load({ certificateFile, keyFile }: TlsFilesOptions): Promise<SecureContext> {
  const [certificate, key] = await Promise.all([read(certificateFile), read(keyFile)]);
  const leaf = parsed(certificateFile, () => new X509Certificate(certificate));
  const privateKey = parsed(keyFile, () => createPrivateKey(key));
  if (!leaf.checkPrivateKey(privateKey)) {
    throw bad(`The key in ${keyFile} does not belong to the certificate in ${certificateFile}`);
  }
  return parsed(certificateFile, () => createServerContext(certificate, key));
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw bad(`${file} cannot be read: ${(cause as NodeJS.ErrnoException).code ?? messageOf(cause)}`, cause);
  }
}

/** The cause of a key that does not parse stays out: it may quote the file. */
function parsed<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw bad(`${file} holds nothing that can be used as PEM`);
  }
}

function bad(message: string, cause?: unknown): InvalidInput {
  return new InvalidInput("bad_tls_files", message, { cause });
}
