import "reflect-metadata";
import { hash, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

/** X.509 certificates: the broker's root, and leaves for the names that agents ask for (RFC 5280). */

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const provider = webcrypto as unknown as Crypto;
const dayMs = 24 * 60 * 60_000;
/** Clocks of clients and containers run a little behind. */
const backdateMs = 5 * 60_000;
const rootLifetimeMs = 3650 * dayMs;
export const leafLifetimeMs = dayMs;

export interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

export interface Root {
  readonly certificate: x509.X509Certificate;
  readonly pem: string;
  readonly privateKey: CryptoKey;
  /** SHA-256 of the certificate, as lowercase hex. */
  readonly fingerprint: string;
}

/** A P-256 pair for signing; its private key can be exported. */
export async function generateKeyPair(): Promise<KeyPair> {
  return (await provider.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
}

/** PKCS #8, DER. */
export async function exportPrivateKey(key: CryptoKey): Promise<Uint8Array> {
  return new Uint8Array(await provider.subtle.exportKey("pkcs8", key));
}

/** PKCS #8, PEM: what TLS servers take. */
export async function privateKeyPem(key: CryptoKey): Promise<string> {
  const lines =
    Buffer.from(await exportPrivateKey(key))
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** A new self-signed root that may sign leaves and nothing below them. */
export async function createRoot(nowMs: number): Promise<Root> {
  const keys = await generateKeyPair();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: randomSerial(),
      name: "CN=Agent Vault Root CA",
      keys,
      notBefore: new Date(nowMs - backdateMs),
      notAfter: new Date(nowMs + rootLifetimeMs),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, provider),
      ],
    },
    provider,
  );
  return { certificate, pem: pemOf(certificate), privateKey: keys.privateKey, fingerprint: fingerprintOf(certificate) };
}

/** A root as it was stored. The key can sign, and cannot be exported again. */
export async function loadRoot(pem: string, pkcs8: Uint8Array): Promise<Root> {
  const privateKey = await provider.subtle.importKey("pkcs8", Uint8Array.from(pkcs8), algorithm, false, ["sign"]);
  const certificate = new x509.X509Certificate(pem);
  return { certificate, pem, privateKey, fingerprint: fingerprintOf(certificate) };
}

export interface LeafRequest {
  readonly root: Root;
  readonly publicKey: CryptoKey;
  /** The first one is the subject, where it fits (a common name has at most 64 characters). */
  readonly names: readonly string[];
  readonly nowMs: number;
}

/** A server certificate in PEM, valid for a day. Names are DNS names, underscores included, or IP addresses. */
export async function issueLeaf({ root, publicKey, names, nowMs }: LeafRequest): Promise<string> {
  const subject = names[0] ?? "";
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: randomSerial(),
      subject: subject.length <= 64 ? [{ CN: [subject] }] : [],
      issuer: root.certificate.subject,
      publicKey,
      signingKey: root.privateKey,
      signingAlgorithm: algorithm,
      notBefore: new Date(nowMs - backdateMs),
      notAfter: new Date(nowMs + leafLifetimeMs),
      extensions: [
        // Critical where the subject is empty: RFC 5280, section 4.2.1.6.
        new x509.SubjectAlternativeNameExtension(names.map(alternativeName), subject.length > 64),
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        await x509.AuthorityKeyIdentifierExtension.create(root.certificate, false, provider),
      ],
    },
    provider,
  );
  return pemOf(certificate);
}

function alternativeName(value: string): { type: "ip" | "dns"; value: string } {
  return { type: /^[0-9.]+$/.test(value) || value.includes(":") ? "ip" : "dns", value };
}

/** 127 random bits: positive, as RFC 5280, section 4.1.2.2, wants it, and never short. */
function randomSerial(): string {
  const bytes = provider.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

function fingerprintOf(certificate: x509.X509Certificate): string {
  return hash("sha256", Buffer.from(certificate.rawData), "hex");
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem").trimEnd()}\n`;
}
