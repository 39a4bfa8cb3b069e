import type { Lane } from "./race-agenda.ts";
import type { ConnectError } from "./race-error.ts";

/** The paces and limits of a race. All in milliseconds unless the name says otherwise. */
export interface RaceOptions {
  /** Between two starts in one lane, unless the first of them fails sooner (RFC 8305 §5). Default 250. */
  readonly paceMilliseconds?: number;
  /** How long IPv4 addresses wait for the IPv6 answer (RFC 8305 §3). Default 50. */
  readonly resolutionDelayMilliseconds?: number;
  /** When a lane opens if an earlier one still has hope. Default: relays 500, Tor 1,000, others 0. */
  readonly laneDelaysMilliseconds?: Partial<Readonly<Record<Lane, number>>>;
  /** For one attempt, identity included. Default 10,000; 60,000 in the lane `tor`. */
  readonly attemptTimeoutMilliseconds?: number;
  /** As above, in the lane `tor`. */
  readonly torAttemptTimeoutMilliseconds?: number;
  /** For one family of one name. Default 5,000. */
  readonly resolutionTimeoutMilliseconds?: number;
  /** For the whole race. Default 120,000. */
  readonly deadlineMilliseconds?: number;
  /** Attempts under way at once. Default 16. */
  readonly maximumConcurrentAttempts?: number;
  /** Addresses used of one hint. Default 8. */
  readonly maximumAddressesPerHint?: number;
  /** Hints, those that come later included. Default 16. */
  readonly maximumHints?: number;
}

/** How a hint is to be tried. */
export type HintPlan =
  | { readonly kind: "resolve"; readonly families: readonly (4 | 6)[] }
  | { readonly kind: "connect"; readonly lane: Lane; readonly address?: string; readonly family?: 4 | 6 };

/** What the race wants done. Drain with {@link Race.poll} after every input until nothing is left. */
export type RaceOutput =
  | { readonly kind: "resolve"; readonly hint: number; readonly family: 4 | 6 }
  | { readonly kind: "connect"; readonly attempt: number; readonly hint: number; readonly address: string | undefined }
  | { readonly kind: "abandon"; readonly attempt: number }
  | { readonly kind: "won"; readonly attempt: number; readonly hint: number }
  | { readonly kind: "lost"; readonly error: ConnectError };
