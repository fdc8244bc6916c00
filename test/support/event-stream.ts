/** Reads server-sent events (HTML, section 9.2) as they come. */
export interface ServerEvent {
  readonly event: string;
  readonly id: string;
  readonly data: string;
}

export class EventReader implements AsyncDisposable {
  readonly response: Response;
  readonly events: ServerEvent[] = [];
  readonly #abort: AbortController;
  /** Resolves when the server has ended the stream, or the connection broke. */
  readonly done: Promise<"ended" | "broken">;

  private constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    this.done = this.#read();
  }

  static async open(url: string, headers: Record<string, string>): Promise<EventReader> {
    const abort = new AbortController();
    return new EventReader(await fetch(url, { headers, signal: abort.signal }), abort);
  }

  async #read(): Promise<"ended" | "broken"> {
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for await (const chunk of this.response.body ?? []) {
        const blocks = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
        rest = blocks.pop() ?? "";
        this.events.push(...blocks.map(parseBlock));
      }
      return "ended";
    } catch {
      return "broken";
    }
  }

  /** The rows of the `log` events so far. */
  get rows(): readonly Record<string, unknown>[] {
    return this.events.filter(({ event }) => event === "log").map(({ data }) => JSON.parse(data));
  }

  get paths(): readonly unknown[] {
    return this.rows.map(({ path }) => path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.done;
  }
}

function parseBlock(block: string): ServerEvent {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1] ?? "";
  return { event: field("event"), id: field("id"), data: field("data") };
}
