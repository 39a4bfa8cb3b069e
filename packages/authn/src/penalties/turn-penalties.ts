import { BoundedPriorityQueue } from "../cache/bounded-priority-queue.ts";
import type { Ban } from "./ban-list.ts";
import type { PenaltyBox } from "./penalty-box.ts";
import type { AttemptSource } from "./source.ts";

const DEFAULT_MAX_PENDING = 10_000;
const DEFAULT_MAX_PENDING_PER_PREFIX = 32;
const DEFAULT_MAX_REMEMBERED = 10_000;
/** Seven sends from an RTO of 500 ms, then 16 RTO of patience: a client is done after 39.5 s (RFC 8489 §6.2.1). */
const DEFAULT_REMEMBER_MS = 40_000;

/** Configuration of {@link TurnPenalties}. */
export interface TurnPenaltiesOptions {
  /** The rules, and what they remember. */
  readonly box: PenaltyBox;
  /** How many transactions may wait or be checked in all; further ones get silence. Default 10,000. */
  readonly maxPending?: number;
  /** … of one address prefix. Default 32. */
  readonly maxPendingPerPrefix?: number;
  /** How many answered failures are remembered for retransmissions. Default 10,000. */
  readonly maxRemembered?: number;
  /** How long an answered failure is remembered, and a check may take. Default 40,000. */
  readonly rememberMs?: number;
}

/** A transaction and who tries. */
export interface TurnAttempt {
  /** Unique among clients, as their transport address and the transaction id are: a retransmission has the same one. */
  readonly transaction: string;
  readonly source: AttemptSource;
}

/** What to do with a request that carries credentials. */
export type TurnAdmission<Answer> =
  /** Check the credentials, then {@link TurnPenalties.settle}. */
  | { readonly kind: "check" }
  /** Nothing: the transaction waits, or is being checked. */
  | { readonly kind: "absorb" }
  /** Nothing for the moment: its `check` falls {@link TurnPenalties.due} later. */
  | { readonly kind: "hold" }
  /** A retransmission of what was answered: the same answer again. */
  | { readonly kind: "repeat"; readonly answer: Answer }
  /** No answer at all. */
  | { readonly kind: "silence"; readonly reason: "banned" | "overLimit" };

/**
 * What came of a request. `challenged` (401 to a request without credentials) and `staleNonce` (438) are the protocol at
 * work and no failures; `unavailable` says nothing of the credentials.
 */
export type TurnOutcome = "succeeded" | "failed" | "challenged" | "staleNonce" | "unavailable";

/** When to answer. */
export type TurnSettlement = (
  | { readonly kind: "answer" }
  /** It falls {@link TurnPenalties.due} later. */
  | { readonly kind: "later"; readonly atMs: number }
  | { readonly kind: "silence" }
) & {
  /** The ban that this request led to. */
  readonly ban?: Ban;
};

/** What has fallen due. */
export type TurnDue<Answer> =
  | { readonly kind: "check"; readonly transaction: string }
  /** Its source was banned meanwhile: it gets no answer. */
  | { readonly kind: "silence"; readonly transaction: string }
  | { readonly kind: "answer"; readonly transaction: string; readonly answer: Answer };

type Pending<Answer> = { readonly source: AttemptSource } & (
  | { readonly kind: "checking" | "held" }
  | { readonly kind: "answering"; readonly answer: Answer; readonly failed: boolean }
);

/**
 * Penalties for TURN, without timers of their own: one entry for each transaction that waits, none for its
 * retransmissions. Ask {@link pollTimeout} after every call, and {@link due} when that time has come.
 */
export class TurnPenalties<Answer> {
  readonly #box: PenaltyBox;
  readonly #maxPending: number;
  readonly #maxPendingPerPrefix: number;
  readonly #rememberMs: number;
  readonly #pending: BoundedPriorityQueue<string, Pending<Answer>>;
  readonly #perPrefix = new Map<string, number>();
  readonly #answered: BoundedPriorityQueue<string, Answer>;

  constructor(options: TurnPenaltiesOptions) {
    this.#box = options.box;
    this.#maxPending = options.maxPending ?? DEFAULT_MAX_PENDING;
    this.#maxPendingPerPrefix = options.maxPendingPerPrefix ?? DEFAULT_MAX_PENDING_PER_PREFIX;
    this.#rememberMs = options.rememberMs ?? DEFAULT_REMEMBER_MS;
    this.#pending = new BoundedPriorityQueue({ capacity: this.#maxPending });
    this.#answered = new BoundedPriorityQueue({ capacity: options.maxRemembered ?? DEFAULT_MAX_REMEMBERED });
  }

  /** How many transactions wait or are being checked. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** A request with credentials came in, at monotonic `nowMs`. */
  begin({ transaction, source }: TurnAttempt, nowMs: number): TurnAdmission<Answer> {
    if (this.#pending.has(transaction)) return { kind: "absorb" };
    this.#answered.popUpTo(nowMs);
    const answer = this.#answered.get(transaction);
    if (answer !== undefined) return { kind: "repeat", answer };
    const admission = this.#box.begin(source, nowMs);
    if (admission.kind === "refuse") return { kind: "silence", reason: admission.reason };
    if (!this.#hasRoom(source)) return { kind: "silence", reason: "overLimit" };
    if (admission.kind === "wait") {
      this.#enter(transaction, { kind: "held", source }, admission.untilMs);
      return { kind: "hold" };
    }
    this.#enter(transaction, { kind: "checking", source }, nowMs + this.#rememberMs);
    return { kind: "check" };
  }

  /** The check of a transaction came to something; `answer` is what the client is to get for it. */
  settle(
    { transaction, source }: TurnAttempt,
    { outcome, answer }: { readonly outcome: TurnOutcome; readonly answer: Answer },
    nowMs: number,
  ): TurnSettlement {
    this.#leave(transaction);
    const verdict = outcome === "succeeded" || outcome === "failed" ? outcome : "neutral";
    const settlement = this.#box.settle(source, verdict, nowMs);
    const withBan = settlement.ban === undefined ? {} : { ban: settlement.ban };
    if (settlement.kind === "refuse") return { kind: "silence", ...withBan };
    const failed = verdict === "failed";
    if (settlement.atMs <= nowMs) {
      if (failed) this.#answered.set(transaction, answer, nowMs + this.#rememberMs);
      return { kind: "answer", ...withBan };
    }
    if (!this.#hasRoom(source)) return { kind: "silence", ...withBan };
    this.#enter(transaction, { kind: "answering", source, answer, failed }, settlement.atMs);
    return { kind: "later", atMs: settlement.atMs, ...withBan };
  }

  /** The client is gone: nothing more of this transaction. */
  cancel(transaction: string): void {
    this.#leave(transaction);
  }

  /** When something falls due, in monotonic milliseconds; `undefined` if nothing waits. O(1). */
  pollTimeout(): number | undefined {
    return this.#pending.peek()?.priority;
  }

  /** What has fallen due, earliest first. What is to be checked counts as begun. */
  due(nowMs: number): readonly TurnDue<Answer>[] {
    const due: TurnDue<Answer>[] = [];
    for (let next = this.#pending.peek(); next !== undefined && next.priority <= nowMs; next = this.#pending.peek()) {
      const { key: transaction, value } = next;
      this.#leave(transaction);
      if (value.kind === "answering") {
        if (value.failed) this.#answered.set(transaction, value.answer, nowMs + this.#rememberMs);
        due.push({ kind: "answer", transaction, answer: value.answer });
      } else if (value.kind === "held") {
        const kind = this.#resume(transaction, value, nowMs);
        if (kind !== undefined) due.push({ kind, transaction });
      }
    }
    return due;
  }

  /** Whether it is its turn: others of the same source may have failed meanwhile, and put it off once more. */
  #resume(transaction: string, held: Pending<Answer>, nowMs: number): "check" | "silence" | undefined {
    const admission = this.#box.begin(held.source, nowMs);
    if (admission.kind === "refuse") return "silence";
    if (admission.kind === "wait") {
      this.#enter(transaction, held, admission.untilMs);
      return undefined;
    }
    this.#enter(transaction, { kind: "checking", source: held.source }, nowMs + this.#rememberMs);
    return "check";
  }

  #hasRoom({ prefix }: AttemptSource): boolean {
    return this.#pending.size < this.#maxPending && (this.#perPrefix.get(prefix) ?? 0) < this.#maxPendingPerPrefix;
  }

  #enter(transaction: string, pending: Pending<Answer>, dueMs: number): void {
    const { prefix } = pending.source;
    this.#perPrefix.set(prefix, (this.#perPrefix.get(prefix) ?? 0) + 1);
    this.#pending.set(transaction, pending, dueMs);
  }

  #leave(transaction: string): void {
    const pending = this.#pending.get(transaction);
    if (pending === undefined) return;
    this.#pending.delete(transaction);
    const { prefix } = pending.source;
    const left = (this.#perPrefix.get(prefix) ?? 1) - 1;
    if (left === 0) this.#perPrefix.delete(prefix);
    else this.#perPrefix.set(prefix, left);
  }
}
