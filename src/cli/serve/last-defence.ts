/** What escapes from every other handler. */
import type { Logger } from "../../log.ts";

/**
 * Keeps a server running after an exception that nobody caught: one request's bug must not end every tenant's service.
 * Nothing that decides over credentials outlives a request, so there is no half-changed state to fear. Each one is
 * logged with its stack, because it is a bug.
 */
export function outliveBugs(log: Logger, program: NodeJS.Process = process): void {
  const note = (event: string) => (error: unknown) =>
    log.error(event, { error, stack: error instanceof Error ? error.stack : undefined });
  program.on("uncaughtException", note("uncaught_exception"));
  program.on("unhandledRejection", note("unhandled_rejection"));
  // Where nobody reads the log any more there is nobody to tell, and telling would fail again.
  program.stderr.on("error", () => undefined);
}
