/** How the server sends mail. The password is not in here: it is read apart, and printed nowhere. */
import { invalid, type Variables } from "./variables.ts";

export type SmtpConfig =
  | { readonly state: "off" }
  /** Half of a configuration: no mail is sent, and the start says what is missing. */
  | { readonly state: "incomplete"; readonly missing: string }
  | {
      readonly state: "on";
      readonly host: string;
      readonly port: number;
      readonly security: "implicit" | "required" | "opportunistic" | "none";
      readonly skipsVerification: boolean;
      readonly username: string | undefined;
      readonly from: { readonly name: string; readonly address: string };
    };

/** Port of mail over TLS from the first byte (RFC 8314, section 3.3). */
const implicitTlsPort = 465;
const bareAddress = /^[^\s@<>()[\]\\,;:"\p{Cc}\p{Cf}]+@[^\s@<>()[\]\\,;:"\p{Cc}\p{Cf}]+$/u;

/** @throws {InvalidInput} naming the variable. */
export function parseSmtp(env: Variables): SmtpConfig {
  const host = env.text("AGENT_VAULT_SMTP_HOST")?.trim();
  const port = env.port("AGENT_VAULT_SMTP_PORT", 587);
  const mode = env.oneOf("AGENT_VAULT_SMTP_TLS_MODE", ["opportunistic", "required", "none"], "opportunistic");
  const skipsVerification = env.flag("AGENT_VAULT_SMTP_TLS_SKIP_VERIFY");
  const name = env.text("AGENT_VAULT_SMTP_FROM_NAME")?.trim() ?? "Agent Vault";
  const address = env.text("AGENT_VAULT_SMTP_FROM")?.trim();
  if (/\p{Cc}/u.test(name)) throw invalid("AGENT_VAULT_SMTP_FROM_NAME", name, "a name without control characters");
  if (address !== undefined && !bareAddress.test(address)) {
    throw invalid("AGENT_VAULT_SMTP_FROM", address, "a bare address such as vault@example.com");
  }
  if (host === undefined) return { state: "off" };
  if (!/^[A-Za-z0-9:]([A-Za-z0-9._:-]*[A-Za-z0-9])?$/.test(host)) {
    throw invalid("AGENT_VAULT_SMTP_HOST", host, "a host name or an address, without a scheme or port");
  }
  if (address === undefined) return { state: "incomplete", missing: "AGENT_VAULT_SMTP_FROM" };
  return {
    state: "on",
    host,
    port,
    security: port === implicitTlsPort ? "implicit" : mode,
    skipsVerification,
    username: env.text("AGENT_VAULT_SMTP_USERNAME"),
    from: { name, address },
  };
}
