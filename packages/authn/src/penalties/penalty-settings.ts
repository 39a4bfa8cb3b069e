/** How long a failure delays what comes after it. */
export type PenaltyDelay =
  /** Anything from `minSeconds` to `maxSeconds`, evenly. */
  | { readonly kind: "constant"; readonly minSeconds: number; readonly maxSeconds: number }
  /** `firstSeconds`, doubled by each further failure, up to `maxSeconds`. */
  | { readonly kind: "growing"; readonly firstSeconds: number; readonly maxSeconds: number };

/** When an address prefix is shut out by itself. */
export interface AutomaticBan {
  /** Failures within the window that lead to it, whoever the users were. */
  readonly failures: number;
  readonly windowSeconds: number;
  readonly banSeconds: number;
}

/** Settings of penalties; durations in seconds. */
export interface PenaltySettings {
  /** Default: constant, 4 to 5 s. */
  readonly delay?: PenaltyDelay;
  /** A source without failures for this long is forgotten. Default 900. */
  readonly forgetAfterSeconds?: number;
  /** How much delay a source may have before it; what would wait longer is refused. Default 30. */
  readonly maxBacklogSeconds?: number;
  /** How many sources are remembered; the soonest to be forgotten makes room. Default 10,000. */
  readonly capacity?: number;
  /** Default: 100 failures in 600 s shut a prefix out for 600 s. `false`: never. */
  readonly automaticBan?: AutomaticBan | false;
  /** How many bans there may be; the soonest to end makes room. Default 10,000. */
  readonly maxBans?: number;
}

/** The same for every failure: as long as a person waits and a guesser despairs. */
export const CONSTANT_DELAY: PenaltyDelay = { kind: "constant", minSeconds: 4, maxSeconds: 5 };

/** Mild to who mistypes once. */
export const GROWING_DELAY: PenaltyDelay = { kind: "growing", firstSeconds: 2, maxSeconds: 15 };

const DEFAULTS: Required<PenaltySettings> = {
  delay: CONSTANT_DELAY,
  forgetAfterSeconds: 900,
  maxBacklogSeconds: 30,
  capacity: 10_000,
  automaticBan: { failures: 100, windowSeconds: 600, banSeconds: 600 },
  maxBans: 10_000,
};

/**
 * Settings with their defaults.
 *
 * @throws RangeError if a value makes no sense; the message names it
 */
export function completePenaltySettings(settings: PenaltySettings): Required<PenaltySettings> {
  const complete = { ...DEFAULTS, ...settings };
  const { delay, automaticBan } = complete;
  const least = delay.kind === "constant" ? delay.minSeconds : delay.firstSeconds;
  if (!(least >= 0 && least <= delay.maxSeconds)) {
    throw new RangeError(`Cannot delay by ${least} to ${delay.maxSeconds} s: use 0 or more, the smaller one first`);
  }
  const positive = {
    forgetAfterSeconds: complete.forgetAfterSeconds,
    capacity: complete.capacity,
    maxBans: complete.maxBans,
    ...(automaticBan === false ? {} : automaticBan),
  };
  for (const [name, value] of Object.entries(positive)) {
    if (!(value > 0)) throw new RangeError(`Cannot use ${value} for ${name}: it must be more than 0`);
  }
  for (const [name, value] of Object.entries({ capacity: complete.capacity, maxBans: complete.maxBans })) {
    if (!Number.isInteger(value)) throw new RangeError(`Cannot use ${value} for ${name}: it must be a whole number`);
  }
  if (!(complete.maxBacklogSeconds >= delay.maxSeconds)) {
    throw new RangeError(
      `Cannot use ${complete.maxBacklogSeconds} for maxBacklogSeconds: one delay may take ${delay.maxSeconds} s`,
    );
  }
  return complete;
}
