import {
  attribute,
  attributes as registry,
  encodeMessage,
  errorCode,
  getAttribute,
  integrityAlgorithms,
  software,
  unknownAttributes,
  unknownComprehensionRequired,
  verifyIntegrity,
  type AttributeEntry,
  type EncodedAttribute,
  type Method,
  type StunMessage,
} from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import type { ClientOptions } from "./contract.ts";
import type { ClientFailure, ServerError } from "./failure.ts";
import { betraysBidDown, type Session, type Signature } from "./session.ts";

/** How an exchange ended. `sentAtMs`: when the request that was answered first went out. */
export type Outcome =
  | { readonly ok: true; readonly message: StunMessage; readonly sentAtMs: number }
  | {
      readonly ok: false;
      readonly failure: ClientFailure;
      /** The error answer, if there was one. */
      readonly message: StunMessage | undefined;
    };

/** A request and who waits for its answer. */
export interface Ask {
  readonly method: Method;
  readonly attributes: readonly EncodedAttribute[];
  /** False: never with credentials (Binding). */
  readonly authenticated: boolean;
  readonly settle: (outcome: Outcome, now: Now) => void;
}

/** One ask until it is answered: a transaction, and another for each challenge. */
export class Exchange {
  readonly kind = "exchange";
  readonly ask: Ask;
  transactionId: Uint8Array = EMPTY;
  bytes: Uint8Array = EMPTY;
  signature: Signature | undefined;
  sentAtMs = 0;
  transmissions = 0;
  rtoMs = 0;
  challenges = 0;
  /** Answers of this transaction were discarded because nobody proved them. */
  violated = false;
  unauthenticated: ServerError | undefined;

  constructor(ask: Ask) {
    this.ask = ask;
  }
}

/** Where the deadlines of exchanges stand, beside those of others. */
export interface ExchangeTimers {
  set(exchange: Exchange, deadlineMs: number): void;
  delete(exchange: Exchange): boolean;
}

/** What exchanges are driven with. */
export interface ExchangesOptions {
  readonly options: ExchangeSettings;
  readonly session: Session;
  readonly timers: ExchangeTimers;
  readonly send: (bytes: Uint8Array, now: Now) => void;
}

/** The part of the options that requests depend on, with its defaults. */
export type ExchangeSettings = Pick<ClientOptions, "crypto" | "random" | "reliable" | "software" | "fingerprint"> &
  Required<Pick<ClientOptions, "initialRtoMs" | "maxTransmissions" | "lastWaitRtos" | "reliableTimeoutMs">>;

/** RFC 8489 §6.2.1 and §6.2.2. */
export const RETRANSMISSION = {
  initialRtoMs: 500,
  maxTransmissions: 7,
  lastWaitRtos: 16,
  reliableTimeoutMs: 39_500,
} as const;

/** Requests under way: sent again and again, matched to their answers, authenticated (RFC 8489 §6.2, §6.3, §9.2.5). */
export class Exchanges {
  readonly #options: ExchangeSettings;
  readonly #session: Session;
  readonly #timers: ExchangeTimers;
  readonly #send: (bytes: Uint8Array, now: Now) => void;
  readonly #byId = new Map<string, Exchange>();
  /** While the five-tuple changes, only the request that changes it goes out. */
  #held: Exchange[] | undefined;

  constructor({ options, session, timers, send }: ExchangesOptions) {
    this.#options = options;
    this.#session = session;
    this.#timers = timers;
    this.#send = send;
  }

  start(ask: Ask, now: Now): Exchange {
    const exchange = new Exchange(ask);
    if (this.#held === undefined) this.#transmitFirst(exchange, now);
    else this.#held.push(exchange);
    return exchange;
  }

  /** Nobody waits for it any more. */
  cancel(exchange: Exchange): void {
    this.#byId.delete(nameOf(exchange.transactionId));
    this.#timers.delete(exchange);
    if (this.#held !== undefined) this.#held = this.#held.filter((held) => held !== exchange);
  }

  /** Stops everything that is under way, to be started again by `release`; starts `ask` at once. */
  startAlone(ask: Ask, now: Now): Exchange {
    const others = [...this.#byId.values(), ...(this.#held ?? [])];
    for (const other of others) this.cancel(other);
    const exchange = new Exchange(ask);
    this.#transmitFirst(exchange, now);
    this.#held = others;
    return exchange;
  }

  /** Starts again what was held. */
  release(now: Now): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const exchange of held) this.#transmitFirst(exchange, now);
  }

  /** Nobody waits for anything any more. */
  cancelAll(): void {
    for (const exchange of this.#byId.values()) this.#timers.delete(exchange);
    this.#byId.clear();
    this.#held = undefined;
  }

  /** Ends everything that is under way. */
  failAll(failure: ClientFailure, now: Now): void {
    const all = [...this.#byId.values(), ...(this.#held ?? [])];
    this.#held = undefined;
    for (const exchange of all) this.#fail(exchange, failure, undefined, now);
  }

  /** A success or error answer. What belongs to no request is ignored (RFC 8489 §6.3.1.2). */
  handleAnswer(message: StunMessage, now: Now): void {
    const exchange = this.#byId.get(nameOf(message.transactionId));
    if (exchange === undefined || message.methodName !== exchange.ask.method) return;
    const error = message.class === "error" ? getAttribute(message, errorCode) : undefined;
    if (message.class === "error" && !error?.ok) {
      // RFC 8489 §6.3.4: without ERROR-CODE there is nothing to act on.
      if (this.#isProven(exchange, message)) {
        this.#fail(exchange, { code: "malformedResponse", detail: "an error without ERROR-CODE" }, message, now);
      }
      return;
    }
    const failed = error?.ok ? error.value : undefined;
    if (exchange.ask.authenticated && (failed?.code === 401 || failed?.code === 438)) {
      this.#challenged(exchange, message, failed.code, now);
      return;
    }
    if (betraysBidDown(message)) return;
    if (exchange.signature !== undefined && !this.#isProven(exchange, message)) {
      this.#unproven(exchange, message, failed, now);
      return;
    }
    // RFC 8489 §6.3.3, §6.3.4.
    const unknown = unknownComprehensionRequired(message, KNOWN);
    if (unknown.length > 0) {
      const detail = `it has attributes that must be understood and aren't: ${unknown.map(hex).join(", ")}`;
      this.#fail(exchange, { code: "malformedResponse", detail }, message, now);
      return;
    }
    if (failed !== undefined) {
      const types = getAttribute(message, unknownAttributes);
      const unknownTypes = types?.ok ? types.value : [];
      this.#fail(exchange, { code: "refused", error: failed, unknownAttributes: unknownTypes }, message, now);
      return;
    }
    this.cancel(exchange);
    exchange.ask.settle({ ok: true, message, sentAtMs: exchange.sentAtMs }, now);
  }

  /** The exchange's timer went off. */
  handleTimer(exchange: Exchange, now: Now): void {
    const { reliable, maxTransmissions } = this.#options;
    if (reliable || exchange.transmissions >= maxTransmissions) {
      const failure: ClientFailure = exchange.violated
        ? { code: "integrityViolated", unauthenticated: exchange.unauthenticated }
        : { code: "timeout", transmissions: exchange.transmissions };
      this.#fail(exchange, failure, undefined, now);
      return;
    }
    exchange.rtoMs *= 2;
    this.#transmit(exchange, now);
  }

  #challenged(exchange: Exchange, message: StunMessage, code: 401 | 438, now: Now): void {
    const learned =
      ++exchange.challenges > MAXIMUM_CHALLENGES
        ? ({ code: "tooManyChallenges" } as const)
        : this.#session.learn(message, code, exchange.signature?.realm);
    if (learned !== undefined) {
      this.#fail(exchange, learned, message, now);
      return;
    }
    this.cancel(exchange);
    this.#transmitFirst(exchange, now);
  }

  #isProven(exchange: Exchange, message: StunMessage): boolean {
    const { signature } = exchange;
    if (signature === undefined) return true;
    const { algorithm, key, crypto } = signature.integrity;
    return verifyIntegrity(message, { algorithm, key, crypto });
  }

  /** RFC 8489 §9.2.5: over UDP as if it had never come, over a stream the end of the transaction. */
  #unproven(exchange: Exchange, message: StunMessage, failed: ServerError | undefined, now: Now): void {
    exchange.violated = true;
    exchange.unauthenticated = failed;
    const { sha1, sha256 } = integrityAlgorithms(message);
    const discarded = failed?.code === 400 && !sha1 && !sha256;
    if (!this.#options.reliable || discarded) return;
    this.#fail(exchange, { code: "integrityViolated", unauthenticated: failed }, undefined, now);
  }

  #transmitFirst(exchange: Exchange, now: Now): void {
    const { ask } = exchange;
    const { random, software: name, fingerprint } = this.#options;
    exchange.transactionId = random(12);
    exchange.signature = ask.authenticated ? this.#session.sign() : undefined;
    exchange.sentAtMs = now.monotonicMs;
    exchange.transmissions = 0;
    exchange.rtoMs = this.#options.initialRtoMs;
    exchange.violated = false;
    exchange.unauthenticated = undefined;
    const attributes = [...ask.attributes, ...(exchange.signature?.attributes ?? [])];
    if (name !== undefined) attributes.push(attribute(software, name));
    exchange.bytes = encodeMessage({
      class: "request",
      method: ask.method,
      transactionId: exchange.transactionId,
      attributes,
      ...(exchange.signature === undefined ? {} : { integrity: exchange.signature.integrity }),
      fingerprint: fingerprint ?? false,
    });
    this.#byId.set(nameOf(exchange.transactionId), exchange);
    this.#transmit(exchange, now);
  }

  #transmit(exchange: Exchange, now: Now): void {
    const { reliable, reliableTimeoutMs, maxTransmissions, lastWaitRtos, initialRtoMs } = this.#options;
    exchange.transmissions++;
    const last = exchange.transmissions >= maxTransmissions;
    const waitMs = reliable ? reliableTimeoutMs : last ? lastWaitRtos * initialRtoMs : exchange.rtoMs;
    this.#timers.set(exchange, now.monotonicMs + waitMs);
    this.#send(exchange.bytes, now);
  }

  #fail(exchange: Exchange, failure: ClientFailure, message: StunMessage | undefined, now: Now): void {
    this.cancel(exchange);
    exchange.ask.settle({ ok: false, failure, message }, now);
  }
}

/** A client whose every answer is a challenge stops here. A 401 and some stale nonces in a row are usual. */
const MAXIMUM_CHALLENGES = 6;
const EMPTY = new Uint8Array(0);
const KNOWN: ReadonlySet<number> = new Set(Object.values<AttributeEntry>(registry).map(({ number }) => number));

function hex(type: number): string {
  return `0x${type.toString(16).padStart(4, "0")}`;
}

/** A transaction id as a key. */
function nameOf(id: Uint8Array): string {
  let name = "";
  for (const byte of id) name += String.fromCharCode(byte);
  return name;
}
