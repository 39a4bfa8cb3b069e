/**
 * What kind of way a candidate is. `local` (Unix sockets), `private` and `public` are raced side by side, each at its own
 * pace; `relay` and `tor` cost others something or take long, and so begin later.
 */
export type Lane = "local" | "private" | "public" | "relay" | "tor";

/** When each lane opens, in milliseconds after the start of the race, if an earlier lane still has hope. */
export const laneDelays: Readonly<Record<Lane, number>> = { local: 0, private: 0, public: 0, relay: 500, tor: 1_000 };

/** One thing that can be tried. */
export interface Candidate {
  readonly hint: number;
  readonly lane: Lane;
  readonly address: string | undefined;
  readonly family: 4 | 6 | undefined;
  /** Its place among the addresses of its hint and family, from 0. */
  readonly round: number;
}

interface LaneState {
  readonly opensAt: number;
  readonly queue: Candidate[];
  nextAt: number;
  lastFamily: 4 | 6 | undefined;
}

/** Decides which candidate starts next, and when. */
export class Agenda {
  readonly #pace: number;
  readonly #lanes: ReadonlyMap<Lane, LaneState>;

  constructor(options: {
    readonly startedAt: number;
    readonly paceMilliseconds: number;
    readonly laneDelays: Readonly<Record<Lane, number>>;
  }) {
    this.#pace = options.paceMilliseconds;
    const lanes: readonly Lane[] = ["local", "private", "public", "relay", "tor"];
    this.#lanes = new Map(
      lanes.map((lane) => {
        const opensAt = options.startedAt + options.laneDelays[lane];
        return [lane, { opensAt, queue: [], nextAt: options.startedAt, lastFamily: undefined }];
      }),
    );
  }

  /** Puts a candidate into its lane. */
  add(candidate: Candidate): void {
    this.#lanes.get(candidate.lane)?.queue.push(candidate);
  }

  /** The next candidate whose time has come, removed from its lane. `hope`: lanes with something under way. */
  take(now: number, hope: ReadonlySet<Lane>): Candidate | undefined {
    for (const state of this.#lanes.values()) {
      if (state.queue.length === 0 || now < this.#readyAt(state, hope)) continue;
      const index = best(state.queue, state.lastFamily);
      const [candidate] = state.queue.splice(index, 1);
      state.nextAt = now + this.#pace;
      state.lastFamily = candidate?.family ?? state.lastFamily;
      return candidate;
    }
    return undefined;
  }

  /** When {@link take} will next give something. */
  nextStart(hope: ReadonlySet<Lane>): number | undefined {
    let next: number | undefined;
    for (const state of this.#lanes.values()) {
      if (state.queue.length === 0) continue;
      const ready = this.#readyAt(state, hope);
      next = next === undefined ? ready : Math.min(next, ready);
    }
    return next;
  }

  /** A failure lets the next of its lane start at once (RFC 8305 §5). */
  failed(lane: Lane, now: number): void {
    const state = this.#lanes.get(lane);
    if (state !== undefined) state.nextAt = Math.min(state.nextAt, now);
  }

  #readyAt(state: LaneState, hope: ReadonlySet<Lane>): number {
    const earlier = [...this.#lanes].some(
      ([lane, other]) => other.opensAt < state.opensAt && (other.queue.length > 0 || hope.has(lane)),
    );
    return earlier ? Math.max(state.nextAt, state.opensAt) : state.nextAt;
  }
}

/**
 * The best candidate: of another family than the last one started (IPv6 first), then each hint's first addresses before
 * any second ones, then the order in which the hints were given.
 */
function best(queue: readonly Candidate[], lastFamily: 4 | 6 | undefined): number {
  const preferred = lastFamily === 6 ? 4 : 6;
  const rank = (candidate: Candidate): readonly number[] => [
    candidate.family === undefined || candidate.family === preferred ? 0 : 1,
    candidate.round,
    candidate.hint,
  ];
  let index = 0;
  for (let other = 1; other < queue.length; other += 1) {
    const left = queue[other];
    const right = queue[index];
    if (left !== undefined && right !== undefined && compare(rank(left), rank(right)) < 0) index = other;
  }
  return index;
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (const [index, value] of left.entries()) {
    const difference = value - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
