import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from "node:zlib";
import type { HeaderList } from "../http1/fields.ts";
import { headerOf, listValues } from "../http1/header-list.ts";
import { ByteCollector } from "./byte-collector.ts";
import { bodyKindOf } from "./media-type.ts";
import { MultipartReplacer } from "./multipart.ts";
import { RefusedSubstitution } from "./refused-substitution.ts";
import type { BodyTransform } from "./stream-replacer.ts";
import type { PlaceholderSet, Substitutions } from "./substitutions.ts";
import { PlaceholderWatch } from "./watch.ts";

export interface BodySubstitutionLimits {
  /** What may be collected to learn a body's new length, or to look into a compressed one; bytes. */
  readonly maxCollectedBytes: number;
}

export const defaultBodyLimits: BodySubstitutionLimits = Object.freeze({ maxCollectedBytes: 64 * 1024 * 1024 });

/** What a compressed body may unfold to while it is looked into, on the thread that serves everybody. */
const maxUnfoldedBytes = 16 * 1024 * 1024;

/** The body of one request on its way upstream. */
export class BodySubstituter implements BodyTransform {
  /**
   * How the body has to be framed upstream:
   * - `declared`: as the agent framed it; what `push` returns has the same length.
   * - `chunked`: the agent sent it chunked, and it stays so; the parts change their lengths.
   * - `collected`: nothing is returned before `end`, which gives all of it. Send the head then, with that length.
   */
  readonly framing: "declared" | "chunked" | "collected";
  readonly #transform: BodyTransform;
  readonly #collected = new ByteCollector();

  private constructor(framing: "declared" | "chunked" | "collected", transform: BodyTransform) {
    this.framing = framing;
    this.#transform = transform;
  }

  /**
   * @param headers of the request, as the agent sent them.
   * @param length of the body; undefined when it is chunked.
   * @returns undefined when the service declares nothing on bodies, or there is none: leave it alone.
   * @throws {RefusedSubstitution} `body_coding_unknown`: it cannot be told whether a placeholder is in there.
   */
  static for(
    substitutions: Substitutions,
    request: { readonly headers: HeaderList; readonly length: number | undefined },
    limits: BodySubstitutionLimits = defaultBodyLimits,
  ): BodySubstituter | undefined {
    const placeholders = substitutions.on("body");
    const { headers, length } = request;
    if (placeholders === undefined || length === 0) return undefined;
    const codings = listValues(headers, "content-encoding")
      .map((coding) => coding.toLowerCase())
      .filter((coding) => coding !== "identity");
    if (codings.length > 0) return new BodySubstituter("collected", new CompressedWatch(placeholders, codings, limits));
    const kind = bodyKindOf(headerOf(headers, "content-type"));
    if (kind.kind === "opaque") return new BodySubstituter("declared", new PlaceholderWatch(placeholders, inBinary));
    if (length !== undefined && length > limits.maxCollectedBytes) {
      return new BodySubstituter("declared", new PlaceholderWatch(placeholders, () => tooLarge(limits)));
    }
    const transform =
      kind.kind === "text" ? placeholders.replacer(kind.encode) : new MultipartReplacer(placeholders, kind.boundary);
    return new BodySubstituter(length === undefined ? "chunked" : "collected", transform);
  }

  /**
   * @throws {RefusedSubstitution} when a placeholder stands where none can be replaced: `placeholder_in_binary_body`,
   * `placeholder_in_binary_part`, `placeholder_in_part_head`, `placeholder_in_compressed_body`,
   * `body_too_large_to_substitute`, `multipart_malformed`.
   * @throws {UpstreamFailed} `credential_unusable`.
   */
  push(chunk: Buffer): Buffer {
    const passed = this.#transform.push(chunk);
    if (this.framing !== "collected") return passed;
    this.#collected.push(passed);
    return empty;
  }

  /** As `push`, for what is left when the last byte was pushed. */
  end(): Buffer {
    const rest = this.#transform.end();
    if (this.#collected.length === 0) return rest;
    this.#collected.push(rest);
    return this.#collected.take();
  }
}

const empty = Buffer.alloc(0);

/** A compressed body is not rewritten, but it is looked into: only one with a placeholder in it is refused. */
class CompressedWatch implements BodyTransform {
  readonly #placeholders: PlaceholderSet;
  readonly #decoders: readonly Decode[];
  readonly #limits: BodySubstitutionLimits;
  readonly #collected = new ByteCollector();

  constructor(placeholders: PlaceholderSet, codings: readonly string[], limits: BodySubstitutionLimits) {
    this.#placeholders = placeholders;
    this.#limits = limits;
    this.#decoders = [...codings].reverse().map((coding) => {
      const decode = decoders.get(coding);
      if (decode === undefined || codings.length > 2) {
        throw new RefusedSubstitution(
          415,
          "body_coding_unknown",
          "The body is compressed in a way that cannot be looked into, and a placeholder may be in it",
          "Send the body without Content-Encoding",
        );
      }
      return decode;
    });
  }

  push(chunk: Buffer): Buffer {
    if (this.#collected.length + chunk.length > this.#limits.maxCollectedBytes) throw tooLarge(this.#limits);
    this.#collected.push(chunk);
    return empty;
  }

  end(): Buffer {
    const body = this.#collected.take();
    const options = { maxOutputLength: maxUnfoldedBytes };
    let unfolded: Buffer = body;
    try {
      for (const decode of this.#decoders) unfolded = decode(unfolded, options);
    } catch (cause) {
      throw isTooLong(cause) ? tooLarge({ maxCollectedBytes: maxUnfoldedBytes }) : undecodable();
    }
    new PlaceholderWatch(this.#placeholders, inCompressed).push(unfolded);
    return body;
  }
}

type Decode = (body: Buffer, options: { readonly maxOutputLength: number }) => Buffer;

const inflateAny: Decode = (body, options) => {
  try {
    return inflateSync(body, options);
  } catch (cause) {
    if (isTooLong(cause)) throw cause;
    // Some clients send it bare, without the header of zlib.
    return inflateRawSync(body, options);
  }
};

const decoders: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ["gzip", gunzipSync],
  ["x-gzip", gunzipSync],
  ["deflate", inflateAny],
  ["br", brotliDecompressSync],
  // Runtimes before Node 22.15 have no zstd.
  ...(typeof zstdDecompressSync === "function" ? [["zstd", zstdDecompressSync] as [string, Decode]] : []),
]);

function isTooLong(cause: unknown): boolean {
  return (
    cause instanceof RangeError || (cause instanceof Error && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE")
  );
}

function inCompressed(): RefusedSubstitution {
  return new RefusedSubstitution(
    415,
    "placeholder_in_compressed_body",
    "A placeholder stands in a compressed body, where no value can be put",
    "Send the body without Content-Encoding",
  );
}

function inBinary(): RefusedSubstitution {
  return new RefusedSubstitution(
    415,
    "placeholder_in_binary_body",
    "A placeholder stands in a body whose Content-Type is no text, where no value can be put",
    "Send it as text, JSON, a form or XML in UTF-8",
  );
}

function undecodable(): RefusedSubstitution {
  return new RefusedSubstitution(400, "body_not_decodable", "The body is not in the coding that its head names");
}

function tooLarge({ maxCollectedBytes }: BodySubstitutionLimits): RefusedSubstitution {
  return new RefusedSubstitution(
    413,
    "body_too_large_to_substitute",
    `A body with a placeholder in it, or a compressed one that has to be looked into, must not be larger than ${maxCollectedBytes} bytes`,
    "Send it chunked, and not compressed: then its length does not matter",
  );
}
