import { furthestFailure, type HintFailure } from "./status.ts";

/** Something took longer than it may. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";
  readonly milliseconds: number;

  constructor(what: string, milliseconds: number) {
    super(`${what} took longer than ${milliseconds / 1000} s`);
    this.milliseconds = milliseconds;
  }
}

/**
 * No hint led to a peer that proved its identity. `errors` holds every cause, `failures` says which hint and address it
 * belongs to, and `cause` is the one that came furthest: a wrong identity hides behind no refused connection.
 */
export class ConnectError extends AggregateError {
  override readonly name = "ConnectError";
  readonly code: "no-hints" | "all-failed" | "stopped";
  readonly failures: readonly HintFailure[];

  constructor(options: { readonly failures: readonly HintFailure[]; readonly reason?: Error }) {
    const { failures, reason } = options;
    const cause = reason ?? furthestFailure(failures)?.cause;
    super(
      failures.map((failure) => failure.cause),
      describe(failures, reason),
      cause === undefined ? undefined : { cause },
    );
    this.failures = failures;
    this.code = reason !== undefined ? "stopped" : failures.length === 0 ? "no-hints" : "all-failed";
  }
}

function describe(failures: readonly HintFailure[], reason: Error | undefined): string {
  const lines = failures.map(({ hint, address, phase, cause }) => {
    const where = address === undefined ? "" : ` (${address})`;
    return `\n  ${hint}${where}: ${phase}: ${cause.message}`;
  });
  if (reason !== undefined) return `Stopped connecting: ${reason.message}${lines.join("")}`;
  if (lines.length === 0) return "Cannot connect: there is no hint to try";
  return `Cannot connect by any hint:${lines.join("")}`;
}
