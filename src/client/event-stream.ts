/** Server-sent events (HTML, section 9.2), read from the pieces of an answer. */

export interface ServerEvent {
  /** `message` when the server gave none. */
  readonly event: string;
  /** Where to go on after a break: the last id that was sent, also by events without data. */
  readonly id: string;
  /** Empty for an event that only moves the id. */
  readonly data: string;
}

/** A server that never ends a line must not fill the memory. */
const maxEventCharacters = 1024 * 1024;

/** @throws {Error} when an event is larger than a million characters. */
export async function* readEvents(pieces: AsyncIterable<string>): AsyncGenerator<ServerEvent, void> {
  let rest = "";
  let id = "";
  for await (const piece of pieces) {
    const blocks = `${rest}${piece}`.split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? "";
    if (rest.length > maxEventCharacters) throw new Error("An event of the server is too large");
    for (const block of blocks) {
      const event = parseBlock(block, id);
      id = event.id;
      yield event;
    }
  }
}

function parseBlock(block: string, lastId: string): ServerEvent {
  let event = "message";
  let id = lastId;
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    // Not by a pattern: its dot would not match the line separators of Unicode, which are text here.
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event = value;
    else if (field === "id") id = value;
    else if (field === "data") data.push(value);
  }
  return { event, id, data: data.join("\n") };
}
