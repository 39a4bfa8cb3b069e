import type { AuthenticationDecision } from "./authentication.ts";
import type { Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import { fiveTupleName } from "./registry.ts";
import { prefixHash } from "./reply-limiter.ts";
import type { Timed } from "./registry.ts";

/** A client gives a transaction up after 39.5 s (RFC 8489 §6.2.1): no answer is of use later. */
const PENDING_LIFETIME_MS = 40_000;

interface Waiting {
  readonly resume: (decision: AuthenticationDecision, now: Now) => void;
  readonly transaction: string;
  readonly prefix: number;
  readonly timer: Timed;
}

/**
 * Requests that wait for a slow authenticator: bounded in number, in all and per address prefix. What finds no place
 * gets no answer, and its client retransmits.
 */
export class PendingAuthentications {
  readonly #core: Core;
  readonly #waiting = new Map<number, Waiting>();
  readonly #transactions = new Map<string, number>();
  readonly #perPrefix = new Map<number, number>();
  /** Keeps outsiders from choosing an address that shares a user's count. */
  readonly #seed: number;

  constructor(core: Core) {
    this.#core = core;
    this.#seed = core.seed();
  }

  /** Whether this request is a retransmission of one that waits. */
  has(request: IncomingRequest): boolean {
    // Its name is a string: not worth making where nobody waits.
    return this.#transactions.size > 0 && this.#transactions.has(transactionName(request));
  }

  add(
    request: IncomingRequest,
    questionId: number,
    now: Now,
    resume: (decision: AuthenticationDecision, now: Now) => void,
  ): void {
    const { maxPendingAuthentications, maxPendingAuthenticationsPerPrefix } = this.#core.options;
    const prefix = prefixHash(request.client.remote, this.#seed);
    const ofPrefix = this.#perPrefix.get(prefix) ?? 0;
    if (this.#waiting.size >= maxPendingAuthentications || ofPrefix >= maxPendingAuthenticationsPerPrefix) return;
    const transaction = transactionName(request);
    const timer: Timed = { kind: "alarm", ring: () => void this.#remove(questionId) };
    this.#waiting.set(questionId, { resume, transaction, prefix, timer });
    this.#transactions.set(transaction, questionId);
    this.#perPrefix.set(prefix, ofPrefix + 1);
    this.#core.registry.timers.set(timer, now.monotonicMs + PENDING_LIFETIME_MS);
  }

  answer(questionId: number, decision: AuthenticationDecision, now: Now): void {
    const waiting = this.#remove(questionId);
    waiting?.resume(decision, now);
  }

  /** Forgets all that wait: a late answer makes nothing any more. */
  cancelAll(): void {
    for (const questionId of this.#waiting.keys()) this.#remove(questionId);
  }

  #remove(questionId: number): Waiting | undefined {
    const waiting = this.#waiting.get(questionId);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(questionId);
    this.#transactions.delete(waiting.transaction);
    this.#core.registry.timers.delete(waiting.timer);
    const left = (this.#perPrefix.get(waiting.prefix) ?? 1) - 1;
    if (left === 0) this.#perPrefix.delete(waiting.prefix);
    else this.#perPrefix.set(waiting.prefix, left);
    return waiting;
  }
}

/** A transaction belongs to a five-tuple. */
function transactionName(request: IncomingRequest): string {
  return `${fiveTupleName(request.client)}/${request.message.transactionId.join(".")}`;
}
