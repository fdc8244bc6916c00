/**
 * One string for each usual spelling of a usual header name.
 *
 * A name that is cut out of a head is a new string every time: it is copied when it is first looked at, and hashed
 * again for every `Set` that is asked about it. A known one costs neither.
 */

const usual = [
  ...[
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Accept-Ranges",
    "Access-Control-Allow-Headers",
  ],
  ...["Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Age", "Allow"],
  ...["Alt-Svc", "Anthropic-Version", "Authorization", "Cache-Control", "CF-RAY", "Connection", "Content-Disposition"],
  ...["Content-Encoding", "Content-Language", "Content-Length", "Content-Range", "Content-Security-Policy"],
  ...["Content-Type", "Cookie", "Date", "ETag", "Expect", "Expires", "Forwarded", "From", "Host", "Idempotency-Key"],
  ...["If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive"],
  ...["Last-Modified", "Link", "Location", "OpenAI-Organization", "Origin", "Pragma", "Proxy-Authorization"],
  ...["Proxy-Connection", "Range", "Referer", "Referrer-Policy", "Retry-After", "Sec-Fetch-Mode"],
  ...["Sec-WebSocket-Accept", "Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"],
  ...["Sec-WebSocket-Version", "Server", "Set-Cookie", "Strict-Transport-Security", "Stripe-Version", "TE", "Trailer"],
  ...["Transfer-Encoding", "Upgrade", "User-Agent", "Vary", "Via", "Www-Authenticate", "WWW-Authenticate"],
  ...["X-Api-Key", "X-Content-Type-Options", "X-Forwarded-For", "X-Frame-Options", "X-GitHub-Api-Version"],
  ...["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-Id", "X-Request-ID", "X-Vault"],
  ...["X-XSS-Protection"],
];

/** Names that share a slot: the earlier one wins, the other is cut out every time. */
const slots: string[] = new Array(1024).fill("");

for (const name of usual) {
  for (const spelling of [name, name.toLowerCase()]) {
    const last = spelling.length - 1;
    const slot = slotOf(spelling.length, spelling.charCodeAt(0), spelling.charCodeAt(last));
    if (slots[slot] === "") slots[slot] = spelling;
  }
}

function slotOf(length: number, first: number, last: number): number {
  return (length * 37 + first * 5 + last * 11) & 1023;
}

/** The characters of `text` from `start` to `end`, of which there is at least one. */
export function nameAt(text: string, start: number, end: number): string {
  const length = end - start;
  const known = slots[slotOf(length, text.charCodeAt(start), text.charCodeAt(end - 1))] ?? "";
  return known.length === length && text.startsWith(known, start) ? known : text.substring(start, end);
}
