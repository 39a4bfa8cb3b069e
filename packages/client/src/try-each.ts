import { reasonOf, TurnClientError } from "./errors.ts";
import { placeOf, type ServerCandidate } from "./resolve.ts";

/** How long a server may take while there is another to try. The last one has the RFC's time. */
export const ATTEMPT_TIMEOUT_MS = 10_000;

/**
 * Tries servers one after the other until one succeeds.
 *
 * @throws TurnClientError: that of the one server, or `allFailed` with all of them; the signal's reason.
 */
export async function tryEach<T>(
  candidates: readonly ServerCandidate[],
  { what, signal }: { readonly what: string; readonly signal: AbortSignal | undefined },
  attempt: (candidate: ServerCandidate, isLast: boolean) => Promise<T>,
): Promise<T> {
  const errors: TurnClientError[] = [];
  for (const [index, candidate] of candidates.entries()) {
    try {
      return await attempt(candidate, index === candidates.length - 1);
    } catch (error) {
      if (signal?.aborted === true) throw reasonOf(signal);
      if (!(error instanceof TurnClientError)) throw error;
      errors.push(error);
      // What the server thinks of the credentials won't be another thing over another transport.
      if (error.code === "unauthenticated" || error.code === "credentialsRequired") break;
    }
  }
  if (errors.length === 1) throw errors[0]!;
  const lines = errors.map(({ message }, index) => `${nameOf(candidates[index]!)}: ${message}`);
  throw new TurnClientError("allFailed", `Cannot ${what}: every server failed\n${lines.join("\n")}`, { errors });
}

/** A server in words: `tls to 192.0.2.1:5349`. */
function nameOf(candidate: ServerCandidate): string {
  return `${candidate.transport} to ${placeOf(candidate)}`;
}
