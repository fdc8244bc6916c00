/** A label that a person gave a session: trimmed, without control characters. Its length is counted in characters. */
export function cleanLabel(label: string | undefined): readonly string[] {
  return [...(label ?? "").trim()].filter((character) => !/\p{Cc}/u.test(character));
}
