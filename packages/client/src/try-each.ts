import { reasonOf, TurnClientError } from "./errors.ts";
import { hostOf, placeOf, type ServerCandidate } from "./resolve.ts";

/** How long a server may take while there is another to try. The last one has the RFC's time. */
export const ATTEMPT_TIMEOUT_MS = 10_000;

/** Error codes after which the same host may answer otherwise by another transport, or later (RFC 8656 §7.4). */
const MAY_BE_TRIED_AGAIN: readonly number[] = [300, 408, 500];

/**
 * Tries servers one after the other until one succeeds. A host that said no isn't asked again by another transport: it
 * would be the same request (RFC 8656 §7.4).
 *
 * @throws TurnClientError: that of the one server, or `allFailed` with all of them; the signal's reason.
 */
export async function tryEach<T>(
  candidates: readonly ServerCandidate[],
  { what, signal }: { readonly what: string; readonly signal: AbortSignal | undefined },
  attempt: (candidate: ServerCandidate, isLast: boolean) => Promise<T>,
): Promise<T> {
  const errors: TurnClientError[] = [];
  const tried: ServerCandidate[] = [];
  const refusing = new Set<string>();
  for (const [index, candidate] of candidates.entries()) {
    if (refusing.has(hostOf(candidate))) continue;
    tried.push(candidate);
    try {
      return await attempt(candidate, index === candidates.length - 1);
    } catch (error) {
      if (signal?.aborted === true) throw reasonOf(signal);
      if (!(error instanceof TurnClientError)) throw error;
      errors.push(error);
      // What is thought of the credentials won't be another thing over another transport (RFC 8656 §7.4).
      if (error.code === "unauthenticated" || error.code === "credentialsRequired") break;
      if (error.serverCode !== undefined && !MAY_BE_TRIED_AGAIN.includes(error.serverCode)) {
        refusing.add(hostOf(candidate));
      }
    }
  }
  if (errors.length === 1) throw errors[0]!;
  const lines = errors.map(({ message }, index) => `${nameOf(tried[index]!)}: ${message}`);
  throw new TurnClientError("allFailed", `Cannot ${what}: every server failed\n${lines.join("\n")}`, { errors });
}

/** A server in words: `tls to 192.0.2.1:5349`. */
function nameOf(candidate: ServerCandidate): string {
  return `${candidate.transport} to ${placeOf(candidate)}`;
}
