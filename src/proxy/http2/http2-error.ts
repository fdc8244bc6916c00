/** Error codes on the wire (RFC 9113, section 7). */
export const ErrorCode = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  connectError: 0xa,
  enhanceYourCalm: 0xb,
  http11Required: 0xd,
} as const;

/** The peer broke a rule that both sides depend on: the connection ends with GOAWAY and this code. */
export class Http2ConnectionError extends Error {
  readonly code: number;

  /** @param message never repeats what the peer sent. */
  constructor(code: number, message: string) {
    super(message);
    this.name = "Http2ConnectionError";
    this.code = code;
  }
}

/** One stream is broken, and ends with RST_STREAM and this code. The others go on. */
export class Http2StreamError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = "Http2StreamError";
    this.code = code;
  }
}

export function protocolError(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.protocolError, message);
}

export function enhanceYourCalm(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.enhanceYourCalm, message);
}

/** A message that breaks the rules of section 8 (RFC 9113, section 8.1.1). */
export function malformed(message: string): Http2StreamError {
  return new Http2StreamError(ErrorCode.protocolError, message);
}
