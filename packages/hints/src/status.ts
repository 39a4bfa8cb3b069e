/**
 * What a hint is doing. `waiting`: known, not begun. `ignored`: not used at all (unknown type, malformed, over the cap).
 * `abandoned`: another hint won, or the caller gave up.
 */
export type HintState =
  | "waiting"
  | "resolving"
  | "connecting"
  | "negotiating"
  | "won"
  | "abandoned"
  | "failed"
  | "ignored";

/** How far an attempt had come when it failed; later is further. */
export const failurePhases = ["reading", "resolving", "connecting", "negotiating"] as const;

/** One of {@link failurePhases}. */
export type FailurePhase = (typeof failurePhases)[number];

/** Why one attempt, or one hint as a whole, came to nothing. */
export interface HintFailure {
  /** The hint as given (printable). */
  readonly hint: string;
  /** The address that was tried, if it came to that. */
  readonly address?: string;
  readonly phase: FailurePhase;
  readonly cause: Error;
}

/** A snapshot of one hint in a race. Times are milliseconds since the race began; absent if it did not come to that. */
export interface HintStatus {
  /** The hint as given (printable). */
  readonly hint: string;
  /** Its type, or an empty string if it could not be read. */
  readonly type: string;
  readonly state: HintState;
  /** The address of the furthest attempt, if the hint leads to addresses. */
  readonly address?: string;
  /** What the handler says about itself, such as "Tor: 45% loading descriptors". */
  readonly detail?: string;
  /** How many connections were begun. */
  readonly attempts: number;
  /** The failure that came furthest. Present in the states `failed` and `ignored`, and in others if some attempt failed. */
  readonly failure?: HintFailure;
  readonly timings: {
    readonly addedAt: number;
    readonly resolvedAt?: number;
    readonly connectingAt?: number;
    readonly connectedAt?: number;
    readonly settledAt?: number;
  };
}

/** The failure that came furthest; among equals the first, which is the one of the best-ranked hint. */
export function furthestFailure(failures: readonly HintFailure[]): HintFailure | undefined {
  let best: HintFailure | undefined;
  for (const failure of failures) {
    if (best === undefined || failurePhases.indexOf(failure.phase) > failurePhases.indexOf(best.phase)) best = failure;
  }
  return best;
}
