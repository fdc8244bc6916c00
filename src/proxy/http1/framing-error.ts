import { AppError } from "../../errors.ts";

/**
 * A message whose framing cannot be trusted. The connection it came on must be closed: where the next message
 * starts is unknown. The message never repeats a header value or any other part of what was sent.
 *
 * `status` is the answer to an agent. From an upstream, every framing error is a bad gateway (502) to the agent.
 */
export class FramingError extends AppError {
  override readonly status: 400 | 431 | 414 | 501 | 505;

  constructor(code: string, message: string, status: 400 | 431 | 414 | 501 | 505 = 400) {
    super(code, message);
    this.status = status;
  }
}
