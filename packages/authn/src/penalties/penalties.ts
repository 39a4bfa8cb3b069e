import { type Clock, type Scheduler, systemClock, systemScheduler } from "../core/clock.ts";
import { printable } from "../core/logger.ts";
import { OperationContext } from "../core/operation-context.ts";
import type { Ban, BanSubject } from "./ban-list.ts";
import { DelayQueue } from "./delay-queue.ts";
import { PenaltyBox, type Verdict } from "./penalty-box.ts";
import type { PenaltySettings } from "./penalty-settings.ts";
import { addressPrefixOf, type AttemptSource } from "./source.ts";

const SECOND_MS = 1_000;
const DEFAULT_MAX_WAITING = 10_000;
const DEFAULT_MAX_WAITING_PER_PREFIX = 64;

/** Configuration of {@link Penalties}. */
export interface PenaltiesOptions extends PenaltySettings {
  /** How many attempts and answers may wait in all; further ones are refused. Default 10,000. */
  readonly maxWaiting?: number;
  /** … of one address prefix. Default 64. */
  readonly maxWaitingPerPrefix?: number;
  readonly clock?: Clock;
  readonly scheduler?: Scheduler;
  /** Default `Math.random`: where in its range a delay lies is no secret. */
  readonly random?: () => number;
}

/** Who makes an attempt. */
export interface Attempt {
  /** The client's address as text. */
  readonly address: string;
  /** Whose secret is tried, in the provider's own spelling. */
  readonly user: string;
}

/** Nothing was told of the attempt: HTTP 429. */
export interface Refused {
  readonly kind: "refused";
  readonly reason: "banned" | "overLimit";
  /** At least 1. */
  readonly retryAfterSeconds: number;
}

/** What became of a guarded attempt. */
export type Guarded<T> =
  | { readonly kind: "answered"; readonly value: T }
  | Refused
  /** The client went away while it waited. */
  | { readonly kind: "aborted" };

/** Counted since the start, and what there is at this moment. */
export interface PenaltyCounters {
  readonly failures: number;
  readonly refused: number;
  readonly automaticBans: number;
  /** How many wait. */
  readonly waiting: number;
  /** How many sources are remembered. */
  readonly sources: number;
  /** How many bans stand. */
  readonly bans: number;
}

/**
 * Penalties for those who guess, in front of anything that checks a secret. A failure is answered late, and while its
 * delay runs, nothing else is answered to the same network about the same user.
 *
 * @example
 * const guarded = await penalties.guard(ctx, { address, user }, async () => {
 *   const result = await verifier.verify(ctx, { username: user, password });
 *   return { value: result, verdict: result.kind === "verified" ? "succeeded" : "failed" };
 * });
 */
export class Penalties {
  readonly #box: PenaltyBox;
  readonly #delays: DelayQueue;
  readonly #clock: Clock;
  #failures = 0;
  #refused = 0;
  #automaticBans = 0;

  /** @throws RangeError if a setting makes no sense */
  constructor({ maxWaiting, maxWaitingPerPrefix, clock, scheduler, random, ...settings }: PenaltiesOptions = {}) {
    this.#clock = clock ?? systemClock;
    this.#box = new PenaltyBox({ ...settings, random: random ?? Math.random });
    this.#delays = new DelayQueue({
      clock: this.#clock,
      scheduler: scheduler ?? systemScheduler,
      capacity: maxWaiting ?? DEFAULT_MAX_WAITING,
      capacityPerGroup: maxWaitingPerPrefix ?? DEFAULT_MAX_WAITING_PER_PREFIX,
    });
  }

  /** Makes the attempt when its source may, and hands its value out when it may be answered. Rejects as `attempt` does. */
  async guard<T>(
    ctx: OperationContext,
    { address, user }: Attempt,
    attempt: () => Promise<{ readonly value: T; readonly verdict: Verdict }>,
  ): Promise<Guarded<T>> {
    OperationContext.assert(ctx);
    const source: AttemptSource = { prefix: addressPrefixOf(address), user };
    const waiting = { group: source.prefix, signal: ctx.signal };
    for (;;) {
      const admission = this.#box.begin(source, this.#clock.monotonicMs());
      if (admission.kind === "refuse") return this.#refuse(admission);
      if (admission.kind === "proceed") break;
      const end = await this.#delays.wait(admission.untilMs, waiting);
      if (end === "full") return this.#refuse({ reason: "overLimit", untilMs: admission.untilMs });
      if (end === "aborted") return { kind: "aborted" };
    }
    const { value, verdict } = await attempt();
    const settlement = this.#box.settle(source, verdict, this.#clock.monotonicMs());
    if (verdict === "failed") this.#failures++;
    if (settlement.ban !== undefined) {
      this.#automaticBans++;
      reportBan(ctx, settlement.ban);
    }
    if (settlement.kind === "refuse") return this.#refuse(settlement);
    const end = await this.#delays.wait(settlement.atMs, waiting);
    if (end === "full") return this.#refuse({ reason: "overLimit", untilMs: settlement.atMs });
    return end === "aborted" ? { kind: "aborted" } : { kind: "answered", value };
  }

  /**
   * Shuts a network or a user out for a while.
   *
   * @throws RangeError unless `seconds` is more than 0
   */
  ban(
    ctx: OperationContext,
    { subject, seconds, reason }: { readonly subject: BanSubject; readonly seconds: number; readonly reason: string },
  ): Ban {
    OperationContext.assert(ctx);
    if (!(seconds > 0)) throw new RangeError(`Cannot ban for ${seconds} s: it must be more than 0`);
    const ban: Ban = { subject, reason, untilMs: this.#clock.monotonicMs() + seconds * SECOND_MS };
    this.#box.bans.add(ban);
    reportBan(ctx, ban);
    return ban;
  }

  /** Lets a network or a user in again; tells whether it was banned. */
  unban(ctx: OperationContext, subject: BanSubject): boolean {
    OperationContext.assert(ctx);
    return this.#box.bans.remove(subject, this.#clock.monotonicMs());
  }

  /** The bans, the soonest to end first, with the seconds that are left. */
  listBans(ctx: OperationContext): readonly (Ban & { readonly secondsLeft: number })[] {
    OperationContext.assert(ctx);
    const nowMs = this.#clock.monotonicMs();
    return this.#box.bans
      .list(nowMs)
      .map((ban) => ({ ...ban, secondsLeft: Math.ceil((ban.untilMs - nowMs) / SECOND_MS) }));
  }

  get counters(): PenaltyCounters {
    return {
      failures: this.#failures,
      refused: this.#refused,
      automaticBans: this.#automaticBans,
      waiting: this.#delays.size,
      sources: this.#box.size,
      bans: this.#box.bans.list(this.#clock.monotonicMs()).length,
    };
  }

  /** Lets all who wait go, unanswered. */
  close(): void {
    this.#delays.close();
  }

  #refuse({ reason, untilMs }: { readonly reason: Refused["reason"]; readonly untilMs: number }): Refused {
    this.#refused++;
    const leftMs = untilMs - this.#clock.monotonicMs();
    return { kind: "refused", reason, retryAfterSeconds: Math.max(1, Math.ceil(leftMs / SECOND_MS)) };
  }
}

function reportBan(ctx: OperationContext, { subject, reason }: Ban): void {
  const whom = subject.kind === "prefix" ? { prefix: subject.prefix } : { user: printable(subject.user) };
  ctx.logger.warn({ requestId: ctx.requestId, ...whom, reason: printable(reason) }, "banned");
}
