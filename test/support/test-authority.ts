import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

/** PEM texts, as TLS servers take them. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const day = 24 * 60 * 60_000;

/** A certificate authority of one test run: what upstreams present, and what a broker is told to trust. */
export class TestAuthority {
  /** The root certificate. */
  readonly pem: string;
  readonly #root: x509.X509Certificate;
  readonly #keys: CryptoKeyPair;

  private constructor(root: x509.X509Certificate, keys: CryptoKeyPair) {
    this.pem = root.toString("pem");
    this.#root = root;
    this.#keys = keys;
  }

  static async create(commonName = "Test upstream CA"): Promise<TestAuthority> {
    const keys = await generateKeys();
    const root = await x509.X509CertificateGenerator.createSelfSigned(
      {
        name: `CN=${commonName}`,
        keys,
        notBefore: new Date(Date.now() - day),
        notAfter: new Date(Date.now() + 30 * day),
        signingAlgorithm: algorithm,
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
          await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto as Crypto),
        ],
      },
      webcrypto as Crypto,
    );
    return new TestAuthority(root, keys);
  }

  /**
   * A server certificate for DNS names (wildcards too) and IP addresses; `notAfter` in the past makes an expired one.
   * With `isClient` it is for the other side of a connection.
   */
  async issue(
    names: readonly string[],
    validity: { notBefore?: Date; notAfter?: Date; isClient?: boolean } = {},
  ): Promise<Certificate> {
    const keys = await generateKeys();
    const alternatives = names.map((name) => ({ type: /^[\d.]+$|:/.test(name) ? "ip" : "dns", value: name }) as const);
    const certificate = await x509.X509CertificateGenerator.create(
      {
        subject: `CN=${names[0] ?? "nobody"}`,
        issuer: this.#root.subject,
        publicKey: keys.publicKey,
        signingKey: this.#keys.privateKey,
        signingAlgorithm: algorithm,
        notBefore: validity.notBefore ?? new Date(Date.now() - day),
        notAfter: validity.notAfter ?? new Date(Date.now() + day),
        extensions: [
          new x509.SubjectAlternativeNameExtension(alternatives),
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.ExtendedKeyUsageExtension([
            validity.isClient ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
          ]),
          await x509.AuthorityKeyIdentifierExtension.create(this.#root, false, webcrypto as Crypto),
        ],
      },
      webcrypto as Crypto,
    );
    return { cert: certificate.toString("pem"), key: await exportKey(keys.privateKey) };
  }
}

async function generateKeys(): Promise<CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
}

async function exportKey(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der.replaceAll(/(.{64})/g, "$1\n").trimEnd()}\n-----END PRIVATE KEY-----\n`;
}
