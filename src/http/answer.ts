/** How the API answers: JSON as the specification has it (section 1.2), and plain text where it asks for that. */

export interface AnswerInit {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** `Set-Cookie` values. */
  readonly cookies?: readonly string[];
}

const unsafeInHtml = /[<>&\u2028\u2029]/g;

/** One JSON value and a newline. */
export function json(value: unknown, init: AnswerInit = {}): Response {
  return textual(`${jsonText(value)}\n`, "application/json", init);
}

/** JSON in one line. `<`, `>`, `&` and the two line separators are escaped, so that it stays harmless inside a page. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value).replace(
    unsafeInHtml,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** JSON that holds a token or a revealed value: no cache on the way may keep it. */
export function secretJson(value: unknown, init: AnswerInit = {}): Response {
  return json(value, { ...init, headers: { ...init.headers, "cache-control": "no-store" } });
}

/** One line of plain text. */
export function text(line: string, init: AnswerInit = {}): Response {
  return textual(`${line}\n`, "text/plain; charset=utf-8", init);
}

/** A stored timestamp as clients expect it: RFC 3339, UTC, whole seconds. */
export function wireTime(timestamp: string): string {
  return `${timestamp.slice(0, 19)}Z`;
}

function textual(body: string, contentType: string, init: AnswerInit): Response {
  const response = new Response(body, {
    status: init.status ?? 200,
    headers: {
      "content-type": contentType,
      "content-length": String(Buffer.byteLength(body)),
      ...init.headers,
    },
  });
  for (const cookie of init.cookies ?? []) response.headers.append("set-cookie", cookie);
  return response;
}
