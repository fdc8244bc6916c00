import { encodeJson, encodeQuery, encodeRaw, encodeXml, type ValueEncoder } from "./encode.ts";

/** What a body is made of, as far as writing a value into it goes. */
export type BodyKind =
  | { readonly kind: "text"; readonly encode: ValueEncoder }
  | { readonly kind: "multipart"; readonly boundary: string }
  /** Nothing can be written into it: a placeholder in there is refused. */
  | { readonly kind: "opaque" };

const opaque: BodyKind = { kind: "opaque" };

/** @param contentType undefined for none, which is taken for plain text. */
export function bodyKindOf(contentType: string | undefined): BodyKind {
  const [first = "", ...parameters] = (contentType ?? "").split(";");
  const type = first.trim().toLowerCase();
  if (type.startsWith("multipart/")) {
    const boundary = boundaryOf(contentType ?? "");
    return boundary === undefined ? opaque : { kind: "multipart", boundary };
  }
  if (!hasAsciiCharset(parameters)) return opaque;
  const encode = encoderFor(type);
  return encode === undefined ? opaque : { kind: "text", encode };
}

function encoderFor(type: string): ValueEncoder | undefined {
  if (type === "application/x-www-form-urlencoded") return encodeQuery;
  if (jsonTypes.test(type)) return encodeJson;
  if (xmlTypes.test(type)) return encodeXml;
  return type === "" || textTypes.test(type) ? encodeRaw : undefined;
}

/** JSON, JSON Lines, and what is built on them; AWS has `application/x-amz-json-1.1`. */
const jsonTypes =
  /^(?:application|text)\/(?:json|json5|x-json|jsonl|jsonlines|ndjson|x-ndjson|x-jsonlines|json-seq|csp-report|x-amz-json-[0-9.]+|[^/]+\+json(?:-seq)?)$/;
const xmlTypes = /^(?:(?:application|text)\/(?:xml|html)|application\/xml-dtd|[^/]+\/[^/]+\+xml)$/;
const textTypes =
  /^(?:text\/.+|application\/(?:graphql|javascript|x-javascript|ecmascript|sql|yaml|x-yaml|toml|x-sh|jwt|sdp|cql)|[^/]+\/[^/]+\+yaml)$/;

/** Encodings in which a placeholder looks as it does in ASCII. In others it would not be found, or be replaced wrongly. */
const asciiCharsets = /^(?:utf-?8|us-ascii|ascii|iso-8859-\d+|latin1|windows-125\d)$/i;

function hasAsciiCharset(parameters: readonly string[]): boolean {
  return parameters.every((parameter) => {
    const [name = "", value = ""] = parameter.split("=");
    return name.trim().toLowerCase() !== "charset" || asciiCharsets.test(value.trim().replaceAll('"', ""));
  });
}

/** RFC 2046, section 5.1.1. */
function boundaryOf(contentType: string): string | undefined {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType) ?? [];
  return quoted ?? plain;
}
