import {
  addressPrefix,
  addressPrefixOf,
  type AttemptSource,
  type Ban,
  type BanSubject,
  PenaltyBox,
  type PenaltySettings,
  TurnPenalties,
  type TurnOutcome,
} from "@turnpike/authn/penalties";
import { claimedUser } from "@turnpike/authn/turn";
import { formatTransportAddress, type IpAddress } from "@turnpike/stun";
import type { AuthenticationDecision, AuthenticationRequest, SourceGate } from "@turnpike/turn";
import type { BanEvent } from "../events/relay-event.ts";
import type { Clock } from "../reactor/clock.ts";
import type { Authenticate } from "../authenticate-module.ts";
import { BannedAddresses } from "./banned-addresses.ts";

/** What {@link GuessDefence} is made with. */
export interface GuessDefenceOptions {
  /** False: guesses cost nothing; bans by administrators hold all the same. */
  readonly settings?: PenaltySettings | false;
  readonly clock: Clock;
  /** How many transactions may wait in all; further ones get silence. Default 1,000. */
  readonly maxPending?: number;
  /** Evenly from 0 to 1. */
  readonly random: () => number;
  readonly onBan: (event: BanEvent) => void;
  /** Told of each failure once, whatever is retransmitted: for another defence's {@link GuessDefence.observe}. */
  readonly onFailure?: (source: AttemptSource) => void;
}

/** A ban that has not ended. */
export interface StandingBan {
  readonly subject: BanSubject;
  readonly reason: string;
  readonly secondsLeft: number;
}

/** Counted since the start, and what there is at this moment. */
export interface GuessCounters {
  /** Requests that failed to prove who sent them. */
  readonly failures: number;
  /** Requests that got no answer: of those who are banned, or have too much under way. */
  readonly discarded: number;
  readonly automaticBans: number;
  /** Transactions whose answer waits for a penalty. */
  readonly waiting: number;
  /** Sources (address and user) whose failures are remembered. */
  readonly sources: number;
  readonly bans: number;
}

const MAX_PENDING = 1000;
/** What `settings: false` comes to. */
const NO_PENALTIES: PenaltySettings = {
  delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 },
  automaticBan: false,
};

type Settle = (decision: AuthenticationDecision) => void;

/** A request that waits: to be looked at, or to be answered. */
interface Waiting {
  readonly look: () => void;
  readonly answer: Settle;
}

/**
 * Stands before the authenticator: who fails is answered late, and later each time; a network that fails too often is
 * not answered at all for a while. A user who proves itself is never put off by failures elsewhere.
 */
export class GuessDefence {
  readonly #penalties: TurnPenalties<AuthenticationDecision>;
  readonly #box: PenaltyBox;
  readonly #banned: BannedAddresses;
  readonly #clock: Clock;
  readonly #onBan: (event: BanEvent) => void;
  readonly #onFailure: ((source: AttemptSource) => void) | undefined;
  readonly #waiting = new Map<string, Waiting>();
  /** Whether guesses cost something. */
  #isOn: boolean;
  #wakeAtMs = Infinity;
  #cancelWake: (() => void) | undefined;
  #failures = 0;
  #discarded = 0;
  #automaticBans = 0;

  /** @throws RangeError if a setting makes no sense. */
  constructor(options: GuessDefenceOptions) {
    const { settings = {} } = options;
    this.#isOn = settings !== false;
    this.#box = new PenaltyBox({ ...(settings === false ? NO_PENALTIES : settings), random: options.random });
    this.#banned = new BannedAddresses(this.#box.bans);
    this.#penalties = new TurnPenalties({ box: this.#box, maxPending: options.maxPending ?? MAX_PENDING });
    this.#clock = options.clock;
    this.#onBan = options.onBan;
    this.#onFailure = options.onFailure;
  }

  /** Takes settings over for what comes from here on; bans stay. @throws RangeError if one of them makes no sense. */
  configure(settings: PenaltySettings | false): void {
    this.#box.configure(settings === false ? NO_PENALTIES : settings);
    this.#isOn = settings !== false;
  }

  /**
   * Rates of sources, for an engine that is to be silent to who is banned: not even a challenge is told. Nobody is banned
   * by what others send in its name: failures count only with a nonce that was told to that very address.
   */
  gate(rates: SourceGate): SourceGate {
    return {
      isShutOut: (client, monotonicMs) => this.#isShutOut(client, monotonicMs),
      admitsRequest: (client, monotonicMs) => rates.admitsRequest(client, monotonicMs),
      admitsChallenge: (client, monotonicMs) => rates.admitsChallenge(client, monotonicMs),
    };
  }

  /** An authenticator that is asked only for those who may be answered. */
  guard(authenticate: Authenticate): Authenticate {
    return (request, settle) => {
      const attempt = attemptOf(request);
      if (!this.#isOn) {
        if (this.#box.bans.find(attempt.source, this.#nowMs()) === undefined) return authenticate(request, settle);
        this.#discarded++;
        return { kind: "discarded" };
      }
      const admission = this.#penalties.begin(attempt, this.#nowMs());
      switch (admission.kind) {
        case "check":
          return this.#check(attempt, request, authenticate, settle);
        case "hold":
          this.#wait(attempt.transaction, {
            look: () => {
              const decision = this.#check(attempt, request, authenticate, settle);
              if (decision.kind !== "pending") settle(decision);
            },
            answer: settle,
          });
          return { kind: "pending" };
        case "repeat":
          return admission.answer;
        case "absorb":
        case "silence":
          this.#discarded++;
          return { kind: "discarded" };
      }
    };
  }

  /** Counts a failure that happened on another thread, where its answer was put off. */
  observe(source: AttemptSource): void {
    this.#failures++;
    const { ban } = this.#box.settle(source, "failed", this.#nowMs());
    if (ban !== undefined) this.#automaticBan(ban);
  }

  /** The bans that stand, the soonest to end first. */
  bans(): readonly StandingBan[] {
    const nowMs = this.#nowMs();
    return this.#box.bans
      .list(nowMs)
      .map(({ subject, reason, untilMs }) => ({ subject, reason, secondsLeft: Math.ceil((untilMs - nowMs) / 1000) }));
  }

  /** Shuts a network or a user out. @throws RangeError unless `seconds` is more than 0. */
  ban(options: { readonly subject: BanSubject; readonly seconds: number; readonly reason: string }): void {
    const { subject, seconds, reason } = options;
    if (!(seconds > 0)) throw new RangeError(`Cannot ban for ${seconds} s: it must be more than 0`);
    const ban: Ban = { subject, reason, untilMs: this.#nowMs() + seconds * 1000 };
    this.#box.bans.add(ban);
    this.#banned.note(subject);
    this.#tell(ban);
  }

  /** Lets a network or a user in again; tells whether it was banned. */
  unban(subject: BanSubject): boolean {
    const removed = this.#box.bans.remove(subject, this.#nowMs());
    if (removed) this.#onBan({ type: "banLifted", subject, atUnixMs: this.#clock.now().unixMs });
    return removed;
  }

  /** Requests that got no answer since the start. */
  get discarded(): number {
    return this.#discarded;
  }

  /** Sources whose failures are remembered. */
  get sources(): number {
    return this.#box.size;
  }

  /** Transactions whose answer waits. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get counters(): GuessCounters {
    return {
      failures: this.#failures,
      discarded: this.#discarded,
      automaticBans: this.#automaticBans,
      waiting: this.#waiting.size,
      sources: this.#box.size,
      bans: this.#box.bans.list(this.#nowMs()).length,
    };
  }

  /** Answers nothing more. */
  close(): void {
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    this.#waiting.clear();
  }

  #check(
    attempt: Attempt,
    request: AuthenticationRequest,
    authenticate: Authenticate,
    settle: Settle,
  ): AuthenticationDecision {
    const decision = authenticate(request, (late) => {
      const answer = this.#settle(attempt, late, settle);
      if (answer.kind !== "pending") settle(answer);
    });
    return decision.kind === "pending" ? decision : this.#settle(attempt, decision, settle);
  }

  /** The decision if it may be told at once; `pending` if it is told later. */
  #settle(attempt: Attempt, decision: AuthenticationDecision, settle: Settle): AuthenticationDecision {
    const outcome = outcomeOf(decision);
    if (outcome === "failed") {
      this.#failures++;
      this.#onFailure?.(attempt.source);
    }
    const settlement = this.#penalties.settle(attempt, { outcome, answer: decision }, this.#nowMs());
    if (settlement.ban !== undefined) this.#automaticBan(settlement.ban);
    if (settlement.kind === "answer") return decision;
    if (settlement.kind === "silence") {
      this.#discarded++;
      return { kind: "discarded" };
    }
    this.#wait(attempt.transaction, { look: () => {}, answer: settle });
    return { kind: "pending" };
  }

  #wait(transaction: string, waiting: Waiting): void {
    this.#waiting.set(transaction, waiting);
    this.#arm();
  }

  #arm(): void {
    const wantedMs = this.#penalties.pollTimeout();
    if (wantedMs === undefined || wantedMs >= this.#wakeAtMs) return;
    this.#cancelWake?.();
    this.#wakeAtMs = wantedMs;
    this.#cancelWake = this.#clock.schedule(wantedMs - this.#nowMs(), () => this.#wake());
  }

  #wake(): void {
    this.#wakeAtMs = Infinity;
    this.#cancelWake = undefined;
    for (const due of this.#penalties.due(this.#nowMs())) {
      const waiting = this.#waiting.get(due.transaction);
      this.#waiting.delete(due.transaction);
      if (due.kind === "check") waiting?.look();
      else if (due.kind === "answer") waiting?.answer(due.answer);
      else {
        this.#discarded++;
        waiting?.answer({ kind: "discarded" });
      }
    }
    this.#arm();
  }

  #isShutOut(client: IpAddress, monotonicMs: number): boolean {
    if (!this.#banned.has(client, monotonicMs)) return false;
    this.#discarded++;
    return true;
  }

  #automaticBan(ban: Ban): void {
    this.#automaticBans++;
    this.#banned.note(ban.subject);
    this.#tell(ban);
  }

  #tell({ subject, reason, untilMs }: Ban): void {
    const { unixMs, monotonicMs } = this.#clock.now();
    this.#onBan({ type: "banStarted", subject, reason, untilUnixMs: unixMs + untilMs - monotonicMs, atUnixMs: unixMs });
  }

  #nowMs(): number {
    return this.#clock.now().monotonicMs;
  }
}

/** Whom a text bans: an IP address or its prefix (`192.0.2.1`, `2001:db8::/64`). @throws TypeError if it is none. */
export function prefixSubject(text: string): BanSubject {
  const [address = "", length, ...rest] = text.split("/");
  const prefix = addressPrefixOf(address);
  if (prefix === addressPrefixOf("") || rest.length > 0 || (length !== undefined && !prefix.endsWith(`/${length}`))) {
    throw new TypeError(
      `Cannot ban ${JSON.stringify(text)}: expected an IP address, which stands for its /32 (IPv4) or /64 (IPv6)`,
    );
  }
  return { kind: "prefix", prefix };
}

type Attempt = ReturnType<typeof attemptOf>;

function attemptOf(request: AuthenticationRequest) {
  const { client, transport, transactionId, username, userhash } = request;
  const user = (username && claimedUser(username)) ?? `hash ${hex(userhash ?? NOTHING)}`;
  return {
    transaction: `${transport} ${formatTransportAddress(client)} ${hex(transactionId)}`,
    source: { prefix: addressPrefix(client), user },
  };
}

const NOTHING = new Uint8Array(0);
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte]!;
  return text;
}

/** An expired credential tells nothing of a secret, and a backend that is away nothing at all. */
function outcomeOf(decision: AuthenticationDecision): TurnOutcome {
  if (decision.kind === "authenticated") return "succeeded";
  if (decision.kind === "notRequested") return "failed";
  if (decision.kind !== "failed") return "unavailable";
  switch (decision.reason) {
    case "unknownActor":
    case "badCredentials":
      return "failed";
    case "expired":
    case "badFormat":
      return "challenged";
    case "unavailable":
      return "unavailable";
  }
}
