import { InvalidInput } from "../../errors.ts";

/** RFC 5321, section 4.5.3.1. */
const maxAddressLength = 254;
const maxLocalLength = 64;
/** Control and format characters would turn or hide a part of the address wherever it is shown. */
const bareAddress =
  /^[^\s@<>()[\]\\,;:"\p{Cc}\p{Cf}\p{Cs}]+@[^\s@<>()[\]\\,;:"_\p{Cc}\p{Cf}\p{Cs}.]+(\.[^\s@<>()[\]\\,;:"_\p{Cc}\p{Cf}\p{Cs}.]+)*$/u;

/** Addresses are stored and compared trimmed and in lower case. */
export function normalizeEmail(text: string): string {
  return text.trim().toLowerCase();
}

/**
 * A bare mailbox, normalised. A display name is not accepted: it would be stored as part of the address.
 * @throws {InvalidInput} `invalid_email`.
 */
export function parseEmail(text: string | undefined): string {
  const address = normalizeEmail(text ?? "");
  const isAddress =
    address.length <= maxAddressLength && address.indexOf("@") <= maxLocalLength && bareAddress.test(address);
  if (!isAddress) throw new InvalidInput("invalid_email", "A valid email address is required, like ada@example.com");
  return address;
}

/** As `parseEmail`, for an address that is only looked up: nobody has one that is malformed. */
export function findEmail(text: string): string | undefined {
  try {
    return parseEmail(text);
  } catch {
    return undefined; // the one thing that parseEmail throws says so
  }
}

export function domainOf(email: string): string {
  return email.slice(email.indexOf("@") + 1).toLowerCase();
}
