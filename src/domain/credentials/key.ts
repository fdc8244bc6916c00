/** Names of credentials: `STRIPE_KEY`. Key names are not secret; values are (spec of the API, section 1). */

const pattern = /^[A-Z][A-Z0-9_]*$/;

export function isCredentialKey(text: string): boolean {
  return pattern.test(text);
}
