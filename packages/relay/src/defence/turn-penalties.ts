import {
  addressPrefix,
  type Ban,
  PenaltyBox,
  type PenaltySettings,
  type TurnAttempt,
  type TurnOutcome,
  TurnPenalties,
} from "@turnpike/authn/penalties";
import { claimedUser } from "@turnpike/authn/turn";
import type { AuthenticationDecision, AuthenticationRequest } from "@turnpike/turn";
import type { Logger } from "../logger.ts";
import type { Clock } from "../reactor/clock.ts";
import type { Authenticate } from "../relay-options.ts";

/** What {@link PenalizedAuthenticator} is made with. */
export interface PenalizedAuthenticatorOptions {
  /** Who decides. */
  readonly authenticate: Authenticate;
  /** Delays and bans, each with its default. */
  readonly settings?: PenaltySettings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where in its range a delay lies, evenly from 0 to 1. Default `Math.random`: that is no secret. */
  readonly random?: () => number;
  /** How many transactions may wait in all, and of one address. Default 1,000 and 32; further ones get silence. */
  readonly maxPending?: number;
  readonly maxPendingPerPrefix?: number;
}

/** Counted since the start, and what there is at this moment. */
export interface TurnPenaltyCounters {
  readonly failures: number;
  /** Requests that got no answer: of those who are banned, retransmissions of what waits, and what is over a limit. */
  readonly discarded: number;
  readonly automaticBans: number;
  /** Transactions that wait. */
  readonly waiting: number;
  /** Sources (address and user) whose failures are remembered. */
  readonly sources: number;
}

interface Waiting {
  readonly attempt: TurnAttempt;
  readonly request: AuthenticationRequest;
  readonly settle: (decision: AuthenticationDecision) => void;
}

const MAX_PENDING = 1000;

/**
 * Penalties in front of an authenticator. A wrong guess is answered late, and while its delay runs, nothing else is
 * answered to the same address about the same user; a network that goes on is shut out. A retransmission is never a
 * further failure, nor is the 401 to a request without credentials or a 438, which no authenticator sees.
 *
 * It has one timer, and one entry for each transaction that waits.
 */
export class PenalizedAuthenticator {
  /** The rules and what they remember, the bans among it. */
  readonly box: PenaltyBox;
  readonly #authenticate: Authenticate;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #penalties: TurnPenalties<AuthenticationDecision>;
  readonly #waiting = new Map<string, Waiting>();
  #wakeAtMs = Infinity;
  #cancelWake: (() => void) | undefined;
  #failures = 0;
  #discarded = 0;
  #automaticBans = 0;

  /** @throws RangeError if a setting makes no sense. */
  constructor(options: PenalizedAuthenticatorOptions) {
    this.#authenticate = options.authenticate;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.box = new PenaltyBox({ ...options.settings, random: options.random ?? Math.random });
    this.#penalties = new TurnPenalties({
      box: this.box,
      maxPending: options.maxPending ?? MAX_PENDING,
      ...(options.maxPendingPerPrefix === undefined ? {} : { maxPendingPerPrefix: options.maxPendingPerPrefix }),
    });
  }

  get counters(): TurnPenaltyCounters {
    return {
      failures: this.#failures,
      discarded: this.#discarded,
      automaticBans: this.#automaticBans,
      waiting: this.#penalties.pendingCount,
      sources: this.box.size,
    };
  }

  /** What the engine is given: the decision, `pending` until a delay is over, or `discarded`. */
  readonly authenticate: Authenticate = (request, settle) => {
    const attempt = attemptOf(request);
    const admission = this.#penalties.begin(attempt, this.#nowMs());
    switch (admission.kind) {
      case "check":
        return this.#check({ attempt, request, settle });
      case "hold":
        this.#wait({ attempt, request, settle });
        return { kind: "pending" };
      case "repeat":
        return admission.answer;
      case "absorb":
      case "silence":
        this.#discarded++;
        return { kind: "discarded" };
    }
  };

  /** Lets go of all that waits; nothing of it is settled. */
  close(): void {
    this.#cancelWake?.();
    for (const transaction of this.#waiting.keys()) this.#penalties.cancel(transaction);
    this.#waiting.clear();
  }

  #check(waiting: Waiting): AuthenticationDecision {
    const decision = this.#authenticate(waiting.request, (late) => {
      const answer = this.#settle(waiting, late);
      if (answer.kind !== "pending") waiting.settle(answer);
    });
    return decision.kind === "pending" ? decision : this.#settle(waiting, decision);
  }

  /** What is to be answered at once: nothing yet is `pending`. */
  #settle(waiting: Waiting, decision: AuthenticationDecision): AuthenticationDecision {
    const outcome = outcomeOf(decision);
    if (outcome === "failed") this.#failures++;
    const settlement = this.#penalties.settle(waiting.attempt, { outcome, answer: decision }, this.#nowMs());
    if (settlement.ban !== undefined) this.#reportBan(settlement.ban);
    switch (settlement.kind) {
      case "answer":
        return decision;
      case "later":
        this.#wait(waiting);
        return { kind: "pending" };
      case "silence":
        this.#discarded++;
        return { kind: "discarded" };
    }
  }

  #wait(waiting: Waiting): void {
    this.#waiting.set(waiting.attempt.transaction, waiting);
    this.#setTimer();
  }

  #wake(): void {
    for (const due of this.#penalties.due(this.#nowMs())) {
      const waiting = this.#waiting.get(due.transaction);
      if (waiting === undefined) continue;
      this.#waiting.delete(due.transaction);
      if (due.kind === "answer") {
        waiting.settle(due.answer);
      } else if (due.kind === "silence") {
        this.#discarded++;
        waiting.settle({ kind: "discarded" });
      } else {
        const answer = this.#check(waiting);
        if (answer.kind !== "pending") waiting.settle(answer);
      }
    }
    this.#setTimer();
  }

  #setTimer(): void {
    const dueMs = this.#penalties.pollTimeout();
    if (dueMs === undefined || dueMs >= this.#wakeAtMs) return;
    this.#cancelWake?.();
    this.#wakeAtMs = dueMs;
    this.#cancelWake = this.#clock.schedule(Math.max(0, dueMs - this.#nowMs()), () => {
      this.#wakeAtMs = Infinity;
      this.#cancelWake = undefined;
      this.#wake();
    });
  }

  #nowMs(): number {
    return this.#clock.now().monotonicMs;
  }

  #reportBan({ subject, reason }: Ban): void {
    this.#automaticBans++;
    if (subject.kind === "prefix") this.#logger.warn({ prefix: subject.prefix, reason }, "An address was banned");
  }
}

function attemptOf({ client, transport, transactionId, username, userhash }: AuthenticationRequest): TurnAttempt {
  const address = `${client.w0}.${client.w1}.${client.w2}.${client.w3}.${client.port}`;
  const user = username === undefined ? `userhash ${hex(userhash ?? [])}` : claimedUser(username);
  return {
    transaction: `${transport} ${address} ${hex(transactionId)}`,
    source: { prefix: addressPrefix(client), user },
  };
}

/** Who proves a credential that has ended didn't guess it; what is malformed is no guess. */
function outcomeOf(decision: AuthenticationDecision): TurnOutcome {
  if (decision.kind === "authenticated") return "succeeded";
  if (decision.kind === "notRequested") return "failed";
  const isGuess = decision.kind === "failed" && ["unknownActor", "badCredentials"].includes(decision.reason);
  return isGuess ? "failed" : "unavailable";
}

function hex(bytes: Uint8Array | readonly number[]): string {
  return Buffer.from(bytes).toString("hex");
}
