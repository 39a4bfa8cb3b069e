import { BoundedPriorityQueue } from "../cache/bounded-priority-queue.ts";
import { type Ban, BanList } from "./ban-list.ts";
import { completePenaltySettings, type PenaltySettings } from "./penalty-settings.ts";
import { type AddressPrefix, type AttemptSource, sourceKey } from "./source.ts";

const SECOND_MS = 1_000;
/** Doubling more often than this changes nothing below any sane maximum. */
const MAX_DOUBLINGS = 30;

/** Whether an attempt may be looked at. */
export type Admission =
  | { readonly kind: "proceed" }
  /** A penalty runs: ask again then. */
  | { readonly kind: "wait"; readonly untilMs: number }
  | { readonly kind: "refuse"; readonly reason: "banned" | "overLimit"; readonly untilMs: number };

/** What an attempt came to. `neutral`: it proved nothing about a guess, for example because the backend was away. */
export type Verdict = "succeeded" | "failed" | "neutral";

/** When the answer to an attempt may be given. */
export type Settlement = (
  | { readonly kind: "answer"; readonly atMs: number }
  /** So much waits already that not even the verdict is told. */
  | { readonly kind: "refuse"; readonly reason: "overLimit"; readonly untilMs: number }
) & {
  /** The ban that this attempt led to. */
  readonly ban?: Ban;
};

interface Failures {
  readonly count: number;
  /** Until then nothing of this source is answered. */
  readonly notBeforeMs: number;
}

/**
 * The rules of penalties, without time or timers of their own. Each failure of a source puts off whatever the source is
 * answered next, right or wrong, by another delay: guesses in parallel gain nothing over guesses in a row. What would
 * wait longer than the backlog allows is refused. State is bounded.
 */
export class PenaltyBox {
  readonly bans: BanList;
  #settings: Required<PenaltySettings>;
  #maxBacklogMs: number;
  readonly #random: () => number;
  readonly #sources: BoundedPriorityQueue<string, Failures>;
  readonly #prefixes: BoundedPriorityQueue<AddressPrefix, { readonly count: number; readonly endsAtMs: number }>;

  /**
   * @param options.random evenly from 0 to 1, as `Math.random`
   * @throws RangeError if a setting makes no sense
   */
  constructor({ random, ...settings }: PenaltySettings & { readonly random: () => number }) {
    this.#settings = completePenaltySettings(settings);
    this.#maxBacklogMs = this.#settings.maxBacklogSeconds * SECOND_MS;
    this.#random = random;
    this.bans = new BanList({ capacity: this.#settings.maxBans });
    this.#sources = new BoundedPriorityQueue({ capacity: this.#settings.capacity });
    this.#prefixes = new BoundedPriorityQueue({ capacity: this.#settings.capacity });
  }

  /**
   * Takes settings over for what comes from here on: what was counted and who is banned stays.
   *
   * @throws RangeError if one of them makes no sense; then none has changed
   */
  configure(settings: PenaltySettings): void {
    this.#settings = completePenaltySettings(settings);
    this.#maxBacklogMs = this.#settings.maxBacklogSeconds * SECOND_MS;
    this.#sources.resize(this.#settings.capacity);
    this.#prefixes.resize(this.#settings.capacity);
    this.bans.resize(this.#settings.maxBans);
  }

  /** How many sources are remembered. */
  get size(): number {
    return this.#sources.size;
  }

  /** Whether an attempt of `source` may be looked at. */
  begin(source: AttemptSource, nowMs: number): Admission {
    const ban = this.bans.find(source, nowMs);
    if (ban !== undefined) return { kind: "refuse", reason: "banned", untilMs: ban.untilMs };
    const untilMs = this.#failuresOf(source, nowMs)?.notBeforeMs ?? nowMs;
    if (untilMs <= nowMs) return { kind: "proceed" };
    return { kind: "wait", untilMs };
  }

  /** Counts what an attempt came to, and says when it may be answered. */
  settle(source: AttemptSource, verdict: Verdict, nowMs: number): Settlement {
    const failures = this.#failuresOf(source, nowMs);
    const notBeforeMs = Math.max(nowMs, failures?.notBeforeMs ?? nowMs);
    if (verdict === "neutral") return { kind: "answer", atMs: nowMs };
    if (verdict === "succeeded") {
      if (failures !== undefined && notBeforeMs === nowMs) this.#sources.delete(sourceKey(source));
      return this.#within(notBeforeMs, nowMs);
    }
    const ban = this.#countForPrefix(source, nowMs);
    const count = (failures?.count ?? 0) + 1;
    const settlement = this.#within(notBeforeMs + this.#delayMs(count), nowMs);
    if (settlement.kind === "answer") {
      const forgetAtMs = settlement.atMs + this.#settings.forgetAfterSeconds * SECOND_MS;
      this.#sources.set(sourceKey(source), { count, notBeforeMs: settlement.atMs }, forgetAtMs);
    }
    return ban === undefined ? settlement : { ...settlement, ban };
  }

  #within(atMs: number, nowMs: number): Settlement {
    if (atMs - nowMs <= this.#maxBacklogMs) return { kind: "answer", atMs };
    return { kind: "refuse", reason: "overLimit", untilMs: atMs };
  }

  #failuresOf(source: AttemptSource, nowMs: number): Failures | undefined {
    this.#sources.popUpTo(nowMs);
    // Its key is a text: not worth making where nobody has failed.
    return this.#sources.size === 0 ? undefined : this.#sources.get(sourceKey(source));
  }

  #delayMs(count: number): number {
    const { delay } = this.#settings;
    const seconds =
      delay.kind === "constant"
        ? delay.minSeconds + this.#random() * (delay.maxSeconds - delay.minSeconds)
        : Math.min(delay.maxSeconds, delay.firstSeconds * 2 ** Math.min(count - 1, MAX_DOUBLINGS));
    return seconds * SECOND_MS;
  }

  #countForPrefix({ prefix }: AttemptSource, nowMs: number): Ban | undefined {
    const { automaticBan } = this.#settings;
    if (automaticBan === false) return undefined;
    this.#prefixes.popUpTo(nowMs);
    const counted = this.#prefixes.get(prefix);
    const count = (counted?.count ?? 0) + 1;
    if (count < automaticBan.failures) {
      const endsAtMs = counted?.endsAtMs ?? nowMs + automaticBan.windowSeconds * SECOND_MS;
      this.#prefixes.set(prefix, { count, endsAtMs }, endsAtMs);
      return undefined;
    }
    this.#prefixes.delete(prefix);
    const ban: Ban = {
      subject: { kind: "prefix", prefix },
      reason: `${count} failed attempts within ${automaticBan.windowSeconds} s`,
      untilMs: nowMs + automaticBan.banSeconds * SECOND_MS,
    };
    this.bans.add(ban);
    return ban;
  }
}
