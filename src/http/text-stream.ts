/** Answers of unknown length, made piece by piece as fast as the client reads: nothing waits in memory. */
import type { AnswerInit } from "./answer.ts";

export interface TextSource {
  /** The next piece; undefined at the end. Asked only when the client has taken what came before. */
  next(): Promise<string | undefined>;
  /** Called once, however it ends. */
  close(): void;
  /**
   * Said to a client that has taken nothing for `slowAfterMs`; then it is cut off. Without it a client may be as slow as
   * it likes.
   */
  readonly slow?: { readonly afterMs: number; readonly lastWords: () => string };
}

/** An error of the source breaks the answer off in a way that the client notices. */
export function textStream(source: TextSource, contentType: string, init: AnswerInit = {}): Response {
  const encoder = new TextEncoder();
  let slowTimer: NodeJS.Timeout | undefined;
  let isEnding = false;
  let isClosed = false;
  const close = () => {
    clearTimeout(slowTimer);
    if (isClosed) return;
    isClosed = true;
    source.close();
  };
  const watchFor = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const { slow } = source;
    if (slow === undefined || isClosed) return;
    slowTimer = setTimeout(() => {
      if (isEnding) {
        close();
        controller.error(new Error("the client does not read"));
        return;
      }
      isEnding = true;
      controller.enqueue(encoder.encode(slow.lastWords()));
      watchFor(controller);
    }, slow.afterMs);
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(slowTimer);
        try {
          const piece = isEnding ? undefined : await source.next();
          // Cancelled in the meantime.
          if (isClosed) return;
          if (piece === undefined) {
            close();
            controller.close();
            return;
          }
          controller.enqueue(encoder.encode(piece));
          watchFor(controller);
        } catch (error) {
          close();
          throw error;
        }
      },
      cancel: close,
    },
    // Nothing is made ahead of what the client reads.
    { highWaterMark: 0 },
  );
  return new Response(body, {
    status: init.status ?? 200,
    headers: { "content-type": contentType, "cache-control": "no-store", ...init.headers },
  });
}
