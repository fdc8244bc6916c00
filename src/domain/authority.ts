import {
  generateKeyPair,
  issueLeaf,
  type KeyPair,
  leafLifetimeMs,
  privateKeyPem,
  type Root,
} from "../crypto/certificate.ts";
import type { Keyring } from "../crypto/keyring.ts";
import { Corrupt, messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import { createServerContext, type SecureContext } from "../runtime/tls.ts";
import type { Changes } from "../storage/changes.ts";
import type { Database } from "../storage/database.ts";
import { establishRoots, listRoots, type RootRow, unsealRoot } from "./authority-rows.ts";
import type { Clock } from "./clock.ts";

/** What a TLS server needs to speak for a name. */
export type LeafContext = SecureContext;

export interface AuthorityOptions {
  /** Host of the server's own base URL: every leaf is valid for it too, so that clients may verify the proxy's name. */
  readonly ownHost?: string;
}

interface Leaf {
  readonly context: LeafContext;
  readonly renewAtMs: number;
}

interface Signer {
  readonly id: string;
  readonly root: Root;
}

interface AuthorityParts {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly bundle: string;
  readonly keys: KeyPair;
  readonly keyPem: string;
  readonly ownHost: string | undefined;
}

const maxLeaves = 1024;
const renewEarlyMs = 5 * 60_000;
/** A rotation that could not be read is read again. */
const retryMs = 1_000;

/**
 * The certificate authority: a root whose key is sealed in the database, and leaves made once per name. All leaves
 * share one key pair, which lives as long as the process. During a rotation a second root is trusted beside the one
 * that signs; `follow` keeps this process in step with the others.
 */
export class Authority {
  readonly #parts: AuthorityParts;
  #signer: Signer;
  #bundle: string;
  /** In order of last use. */
  readonly #leaves = new Map<string, Leaf>();
  readonly #minting = new Map<string, Promise<LeafContext>>();
  #refreshing: Promise<void> = Promise.resolve();

  private constructor(parts: AuthorityParts) {
    this.#parts = parts;
    this.#signer = parts.signer;
    this.#bundle = parts.bundle;
  }

  /**
   * Loads the root, or makes it. Instances that start at once all end up with the same one.
   *
   * @throws {Corrupt} when the stored key does not open.
   */
  static async open(
    database: Database,
    keyring: Keyring,
    clock: Clock,
    options: AuthorityOptions = {},
  ): Promise<Authority> {
    const roots = await establishRoots(database, keyring, clock);
    const signer = await openSigner(database, keyring, roots);
    const keys = await generateKeyPair();
    return new Authority({
      database,
      keyring,
      clock,
      signer,
      bundle: bundleOf(roots),
      keys,
      keyPem: await privateKeyPem(keys.privateKey),
      ownHost: options.ownHost?.replace(/^\[|\]$/g, ""), // a URL writes IPv6 in brackets, a certificate does not
    });
  }

  /** Leaves made since the start. */
  minted = 0;

  /** The root certificate that signs. */
  get rootPem(): string {
    return this.#signer.root.pem;
  }

  /** What agents must trust: the root that signs, and behind it another during a rotation. */
  get bundlePem(): string {
    return this.#bundle;
  }

  /** When the root that signs expires, in epoch milliseconds. */
  get expiresAtMs(): number {
    return this.#signer.root.certificate.notAfter.getTime();
  }

  /** Takes over what a rotation changed, here or in another process. @returns what ends it. */
  follow(changes: Changes, log: Logger): () => void {
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    const refresh = () => {
      this.refresh().catch((error: unknown) => {
        if (isOver) return;
        log.warn("the root certificates could not be read again", { error: messageOf(error) });
        clearTimeout(timer);
        timer = setTimeout(refresh, retryMs);
        timer.unref();
      });
    };
    const unwatch = changes.watch(({ kind }) => {
      if (kind === "authority" || kind === "everything") refresh();
    });
    return () => {
      isOver = true;
      clearTimeout(timer);
      unwatch();
    };
  }

  /** Reads the roots again, now. Tunnels that are open keep the leaf that they began with. */
  refresh(): Promise<void> {
    const refreshed = this.#refreshing.then(() => this.#refresh());
    this.#refreshing = refreshed.catch(() => undefined);
    return refreshed;
  }

  async #refresh(): Promise<void> {
    const { database, keyring } = this.#parts;
    const roots = await listRoots(database.db);
    const active = roots.find(({ state }) => state === "active");
    if (active !== undefined && active.id !== this.#signer.id) {
      this.#signer = await openSigner(database, keyring, roots);
      this.#leaves.clear();
      this.#minting.clear();
    }
    this.#bundle = bundleOf(roots);
  }

  /**
   * A certificate for a normalised host name or IP address: at once when it was made before, else a promise, shared by
   * all who ask meanwhile.
   */
  leafFor(name: string): LeafContext | Promise<LeafContext> {
    const known = this.#leaves.get(name);
    if (known && known.renewAtMs > this.#parts.clock.now()) {
      this.#leaves.delete(name);
      this.#leaves.set(name, known);
      return known.context;
    }
    const pending = this.#minting.get(name);
    if (pending) return pending;
    const minting = this.#mint(name).finally(() => {
      // A rotation may have put another in its place.
      if (this.#minting.get(name) === minting) this.#minting.delete(name);
    });
    this.#minting.set(name, minting);
    return minting;
  }

  async #mint(name: string): Promise<LeafContext> {
    this.minted++;
    const signer = this.#signer;
    const { clock, keys, keyPem, ownHost } = this.#parts;
    const nowMs = clock.now();
    const names = ownHost === undefined || ownHost === name ? [name] : [name, ownHost];
    const pem = await issueLeaf({ root: signer.root, publicKey: keys.publicKey, names, nowMs });
    const context = createServerContext(pem, keyPem);
    // Of the root before: good for whoever asked, and for nobody after.
    if (signer !== this.#signer) return context;
    this.#leaves.set(name, { context, renewAtMs: nowMs + leafLifetimeMs - renewEarlyMs });
    for (const oldest of this.#leaves.keys()) {
      if (this.#leaves.size <= maxLeaves) break;
      this.#leaves.delete(oldest);
    }
    return context;
  }
}

async function openSigner(database: Database, keyring: Keyring, roots: readonly RootRow[]): Promise<Signer> {
  const id = roots.find(({ state }) => state === "active")?.id ?? "";
  const root = await unsealRoot(database, keyring, id);
  if (root) return { id, root };
  throw new Corrupt("no_authority", "The root certificate that signs is not there any more");
}

function bundleOf(roots: readonly RootRow[]): string {
  return roots.map(({ pem }) => pem).join("");
}
