/**
 * Which bytes may stand where in a head, as tables of 256 entries: 1 is allowed. Indexed with a character code, a
 * character past 0xff finds `undefined` and is refused like any other.
 */

function table(allows: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (allows(byte) ? 1 : 0));
}

/** `tchar` of RFC 9110, section 5.6.2: methods, header names, names of chunk extensions. */
export const nameBytes = table((byte) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(byte)) && byte < 0x80);

/** Header values and reason phrases: HTAB, SP, visible ASCII, obs-text (RFC 9110, section 5.5). */
export const valueBytes = table((byte) => byte === 0x09 || (byte >= 0x20 && byte !== 0x7f));

/** Targets: visible ASCII. `#` is missing because a fragment is never sent, and cutting it off is a way to differ. */
export const targetBytes = table((byte) => byte > 0x20 && byte < 0x7f && byte !== 0x23);
