import { AppError, type AppErrorOptions } from "../../errors.ts";

/** What ends a WebSocket from the middle. The message holds nothing of what was sent. */
export class BadWebSocket extends AppError {
  override readonly status = 400;
  /** For the Close frames to both sides (RFC 6455, section 7.4.1). */
  readonly closeCode: 1002 | 1007 | 1008 | 1009;

  constructor(closeCode: 1002 | 1007 | 1008 | 1009, code: string, message: string, options: AppErrorOptions = {}) {
    super(code, message, options);
    this.closeCode = closeCode;
  }
}
