import { Agenda, type Candidate, type Lane, laneDelays } from "./race-agenda.ts";
import { ConnectError, TimeoutError } from "./race-error.ts";
import type { HintPlan, RaceOptions, RaceOutput } from "./race-types.ts";
import { furthestFailure, type FailurePhase, type HintFailure, type HintState, type HintStatus } from "./status.ts";

export type { Lane } from "./race-agenda.ts";
export type { HintPlan, RaceOptions, RaceOutput } from "./race-types.ts";

interface Entry {
  readonly index: number;
  readonly text: string;
  readonly type: string;
  readonly addedAt: number;
  readonly failures: HintFailure[];
  resolving: Map<4 | 6, number>;
  /** IPv4 addresses that wait for the IPv6 answer, and until when. */
  held: { readonly until: number; readonly candidates: readonly Candidate[] } | undefined;
  queued: number;
  taken: number;
  live: number;
  attempts: number;
  ignored: boolean;
  /** False until it is known how to try it. */
  planned: boolean;
  detail: string | undefined;
  address: string | undefined;
  resolvedAt: number | undefined;
  connectingAt: number | undefined;
  connectedAt: number | undefined;
  settledAt: number | undefined;
}

interface Attempt {
  readonly candidate: Candidate;
  readonly startedAt: number;
  readonly deadline: number;
  connected: boolean;
}

/**
 * Races hints (RFC 8305, for lists of hints): the state machine alone. Everything that happens is an input with the time
 * at which it happens; everything wanted is an output. It wins only when an attempt's peer has *proven* who it is, and
 * then every other attempt is abandoned.
 */
export class Race {
  readonly #options: Required<Omit<RaceOptions, "laneDelaysMilliseconds">>;
  readonly #startedAt: number;
  readonly #agenda: Agenda;
  readonly #entries: Entry[] = [];
  readonly #attempts: Map<number, Attempt> = new Map();
  readonly #outputs: RaceOutput[] = [];
  #nextAttempt = 0;
  #moreHints = true;
  #over = false;
  #winner: number | undefined;

  constructor(options: RaceOptions & { readonly now: number }) {
    this.#options = {
      paceMilliseconds: options.paceMilliseconds ?? 250,
      resolutionDelayMilliseconds: options.resolutionDelayMilliseconds ?? 50,
      attemptTimeoutMilliseconds: options.attemptTimeoutMilliseconds ?? 10_000,
      torAttemptTimeoutMilliseconds: options.torAttemptTimeoutMilliseconds ?? 60_000,
      resolutionTimeoutMilliseconds: options.resolutionTimeoutMilliseconds ?? 5_000,
      deadlineMilliseconds: options.deadlineMilliseconds ?? 120_000,
      maximumConcurrentAttempts: options.maximumConcurrentAttempts ?? 16,
      maximumAddressesPerHint: options.maximumAddressesPerHint ?? 8,
      maximumHints: options.maximumHints ?? 16,
    };
    this.#startedAt = options.now;
    this.#agenda = new Agenda({
      startedAt: options.now,
      paceMilliseconds: this.#options.paceMilliseconds,
      laneDelays: { ...laneDelays, ...options.laneDelaysMilliseconds },
    });
  }

  /** True once the race is won, lost or cancelled: later inputs change nothing. */
  get over(): boolean {
    return this.#over;
  }

  /** Room for more hints under the cap. */
  get full(): boolean {
    return this.#entries.filter((entry) => !entry.ignored).length >= this.#options.maximumHints;
  }

  /** Adds a hint, at the start or while the race runs. Returns its number, which is its rank. Then {@link plan} it. */
  addHint(hint: { readonly text: string; readonly type: string }, now: number): number {
    const entry = this.#newEntry(hint, now);
    if (this.#over) entry.settledAt = now;
    return entry.index;
  }

  /**
   * Says how a hint is to be tried. Nothing starts before the next {@link timeout}, so that a whole list is ranked before
   * its first hint is tried.
   */
  plan(hint: number, plan: HintPlan, now: number): void {
    const entry = this.#entries[hint];
    if (this.#over || entry === undefined || entry.planned) return;
    entry.planned = true;
    if (plan.kind === "resolve") {
      for (const family of plan.families) {
        entry.resolving.set(family, now + this.#options.resolutionTimeoutMilliseconds);
        this.#outputs.push({ kind: "resolve", hint, family });
      }
    } else {
      const { lane, address, family } = plan;
      this.#queue(entry, [{ hint, lane, address, family, round: 0 }]);
    }
  }

  /** A hint is not used at all; its status says why. As with {@link plan}, {@link timeout} must follow. */
  ignore(hint: number, cause: Error, now: number): void {
    const entry = this.#entries[hint];
    if (this.#over || entry === undefined || entry.planned) return;
    entry.planned = true;
    entry.ignored = true;
    entry.settledAt = now;
    entry.failures.push({ hint: entry.text, phase: "reading", cause });
  }

  /** No more hints will come: from here on the race can be lost. */
  endHints(now: number): void {
    this.#moreHints = false;
    this.#step(now);
  }

  /** An answer to `resolve`. The lane is the caller's judgement of each address (`private` or `public`). */
  resolved(
    hint: number,
    family: 4 | 6,
    addresses: readonly { readonly address: string; readonly lane: Lane }[],
    now: number,
  ): void {
    const entry = this.#entries[hint];
    if (this.#over || entry === undefined || !entry.resolving.delete(family)) return;
    entry.resolvedAt ??= now;
    const candidates = addresses.map(({ address, lane }, round) => ({ hint, lane, address, family, round }));
    if (family === 4 && entry.resolving.has(6)) {
      entry.held = { until: now + this.#options.resolutionDelayMilliseconds, candidates };
    } else {
      this.#queue(entry, candidates);
      this.#release(entry);
    }
    this.#step(now);
  }

  /** A name has no (permitted) address of this family. */
  resolutionFailed(hint: number, family: 4 | 6, cause: Error, now: number): void {
    const entry = this.#entries[hint];
    if (this.#over || entry === undefined || !entry.resolving.delete(family)) return;
    entry.failures.push({ hint: entry.text, phase: "resolving", cause });
    if (family === 6) this.#release(entry);
    this.#step(now);
  }

  /** The stream of an attempt is open; its peer's identity is not proven yet. */
  connected(attempt: number, now: number): void {
    const running = this.#attempts.get(attempt);
    if (running === undefined) return;
    running.connected = true;
    const entry = this.#entries[running.candidate.hint];
    if (entry === undefined) return;
    entry.connectedAt ??= now;
    entry.address = running.candidate.address;
  }

  /** The peer of an attempt has proven who it is: the race is won. False if another has won before. */
  proven(attempt: number, now: number): boolean {
    const running = this.#attempts.get(attempt);
    if (running === undefined || this.#over) return false;
    this.connected(attempt, now);
    this.#attempts.delete(attempt);
    this.#winner = running.candidate.hint;
    this.#outputs.push({ kind: "won", attempt, hint: running.candidate.hint });
    this.#finish(now);
    return true;
  }

  /** An attempt came to nothing. */
  failed(attempt: number, cause: Error, now: number): void {
    if (this.#end(attempt, cause, now)) this.#step(now);
  }

  /** What the handler of a hint says about its progress. */
  detail(hint: number, text: string): void {
    const entry = this.#entries[hint];
    if (entry !== undefined && !this.#over) entry.detail = text;
  }

  /** Gives up: everything is abandoned, and the error's cause is `cause`. */
  cancel(cause: Error, now: number): void {
    if (this.#over) return;
    this.#outputs.push({ kind: "lost", error: new ConnectError({ failures: this.#failures(), reason: cause }) });
    this.#finish(now);
  }

  /** When {@link timeout} wants to be called; nothing while there is nothing to wait for. */
  pollTimeout(): number | undefined {
    if (this.#over) return undefined;
    let next = this.#startedAt + this.#options.deadlineMilliseconds;
    for (const { deadline } of this.#attempts.values()) next = Math.min(next, deadline);
    for (const entry of this.#entries) {
      for (const until of entry.resolving.values()) next = Math.min(next, until);
      if (entry.held !== undefined) next = Math.min(next, entry.held.until);
    }
    if (this.#attempts.size < this.#options.maximumConcurrentAttempts) {
      next = Math.min(next, this.#agenda.nextStart(this.#hope()) ?? next);
    }
    return next;
  }

  /** Deadlines pass, and the next attempts start. To be called when {@link pollTimeout} says, and after a list was planned. */
  timeout(now: number): void {
    if (this.#over) return;
    if (now >= this.#startedAt + this.#options.deadlineMilliseconds) {
      this.cancel(new TimeoutError("the race", this.#options.deadlineMilliseconds), now);
      return;
    }
    for (const [attempt, { deadline, startedAt }] of this.#attempts) {
      if (now < deadline) continue;
      this.#outputs.push({ kind: "abandon", attempt });
      this.#end(attempt, new TimeoutError("the attempt", deadline - startedAt), now);
    }
    for (const entry of this.#entries) {
      if (entry.held !== undefined && now >= entry.held.until) this.#release(entry);
      for (const [family, until] of entry.resolving) {
        if (now < until) continue;
        const cause = new TimeoutError("the name server", this.#options.resolutionTimeoutMilliseconds);
        this.resolutionFailed(entry.index, family, cause, now);
      }
    }
    this.#step(now);
  }

  /** The next output, oldest first. */
  poll(): RaceOutput | undefined {
    return this.#outputs.shift();
  }

  /** A snapshot of every hint, in the order in which they were added. */
  statuses(): readonly HintStatus[] {
    return this.#entries.map((entry) => this.#status(entry));
  }

  #newEntry(hint: { readonly text: string; readonly type: string }, now: number): Entry {
    const entry: Entry = {
      index: this.#entries.length,
      text: hint.text,
      type: hint.type,
      addedAt: now,
      failures: [],
      resolving: new Map(),
      held: undefined,
      queued: 0,
      taken: 0,
      live: 0,
      attempts: 0,
      ignored: false,
      planned: false,
      detail: undefined,
      address: undefined,
      resolvedAt: undefined,
      connectingAt: undefined,
      connectedAt: undefined,
      settledAt: undefined,
    };
    this.#entries.push(entry);
    return entry;
  }

  #queue(entry: Entry, candidates: readonly Candidate[]): void {
    // A family that answers first must not use up the share of the other.
    const share = this.#options.maximumAddressesPerHint;
    const each = entry.resolving.size > 0 || entry.held !== undefined ? Math.ceil(share / 2) : share;
    for (const candidate of candidates.slice(0, Math.min(each, share - entry.taken))) {
      entry.queued += 1;
      entry.taken += 1;
      this.#agenda.add(candidate);
    }
  }

  #release(entry: Entry): void {
    const { held } = entry;
    entry.held = undefined;
    if (held !== undefined) this.#queue(entry, held.candidates);
  }

  #step(now: number): void {
    if (this.#over) return;
    while (this.#attempts.size < this.#options.maximumConcurrentAttempts) {
      const candidate = this.#agenda.take(now, this.#hope());
      if (candidate === undefined) break;
      this.#start(candidate, now);
    }
    for (const entry of this.#entries) {
      if (entry.settledAt === undefined && this.#isSpent(entry)) entry.settledAt = now;
    }
    if (!this.#moreHints && this.#entries.every((entry) => entry.settledAt !== undefined)) {
      this.#outputs.push({ kind: "lost", error: new ConnectError({ failures: this.#failures() }) });
      this.#finish(now);
    }
  }

  #start(candidate: Candidate, now: number): void {
    const attempt = this.#nextAttempt;
    this.#nextAttempt += 1;
    const { attemptTimeoutMilliseconds, torAttemptTimeoutMilliseconds } = this.#options;
    const patience = candidate.lane === "tor" ? torAttemptTimeoutMilliseconds : attemptTimeoutMilliseconds;
    this.#attempts.set(attempt, { candidate, startedAt: now, deadline: now + patience, connected: false });
    const entry = this.#entries[candidate.hint];
    if (entry !== undefined) {
      entry.queued -= 1;
      entry.live += 1;
      entry.attempts += 1;
      entry.connectingAt ??= now;
      entry.address = candidate.address;
    }
    this.#outputs.push({ kind: "connect", attempt, hint: candidate.hint, address: candidate.address });
  }

  #end(attempt: number, cause: Error, now: number): boolean {
    const running = this.#attempts.get(attempt);
    if (running === undefined || this.#over) return false;
    this.#attempts.delete(attempt);
    const { candidate, connected } = running;
    this.#agenda.failed(candidate.lane, now);
    const entry = this.#entries[candidate.hint];
    if (entry === undefined) return false;
    entry.live -= 1;
    const phase: FailurePhase = connected ? "negotiating" : "connecting";
    const address = candidate.address === undefined ? {} : { address: candidate.address };
    entry.failures.push({ hint: entry.text, ...address, phase, cause });
    return true;
  }

  #finish(now: number): void {
    this.#over = true;
    for (const attempt of this.#attempts.keys()) this.#outputs.push({ kind: "abandon", attempt });
    this.#attempts.clear();
    for (const entry of this.#entries) entry.settledAt ??= now;
  }

  /** Lanes in which something may still come of it, resolution included. */
  #hope(): ReadonlySet<Lane> {
    const lanes = new Set<Lane>();
    for (const { candidate } of this.#attempts.values()) lanes.add(candidate.lane);
    const open = this.#entries.some((entry) => !entry.planned || entry.resolving.size > 0 || entry.held !== undefined);
    if (open) lanes.add("public");
    return lanes;
  }

  #isSpent(entry: Entry): boolean {
    return (
      entry.planned && entry.resolving.size === 0 && entry.held === undefined && entry.queued === 0 && entry.live === 0
    );
  }

  #failures(): readonly HintFailure[] {
    return this.#entries.flatMap((entry) => entry.failures);
  }

  #status(entry: Entry): HintStatus {
    const failure = furthestFailure(entry.failures);
    const since = (time: number): number => time - this.#startedAt;
    return {
      hint: entry.text,
      type: entry.type,
      state: this.#state(entry),
      ...(entry.address === undefined ? {} : { address: entry.address }),
      ...(entry.detail === undefined ? {} : { detail: entry.detail }),
      attempts: entry.attempts,
      ...(failure === undefined ? {} : { failure }),
      timings: {
        addedAt: since(entry.addedAt),
        ...(entry.resolvedAt === undefined ? {} : { resolvedAt: since(entry.resolvedAt) }),
        ...(entry.connectingAt === undefined ? {} : { connectingAt: since(entry.connectingAt) }),
        ...(entry.connectedAt === undefined ? {} : { connectedAt: since(entry.connectedAt) }),
        ...(entry.settledAt === undefined ? {} : { settledAt: since(entry.settledAt) }),
      },
    };
  }

  #state(entry: Entry): HintState {
    if (entry.ignored) return "ignored";
    if (this.#winner === entry.index) return "won";
    if (this.#isSpent(entry)) return entry.failures.length > 0 ? "failed" : "abandoned";
    if (this.#over) return "abandoned";
    for (const { candidate, connected } of this.#attempts.values()) {
      if (candidate.hint === entry.index && connected) return "negotiating";
    }
    if (entry.live > 0) return "connecting";
    return entry.resolving.size > 0 ? "resolving" : "waiting";
  }
}
