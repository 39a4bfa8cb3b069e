import { attribute, encodeMessage, software, type Method } from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import { TimerHeap } from "../server/timer-heap.ts";
import type { ClientOptions, ClientOutput, Completion } from "./contract.ts";
import { Exchanges, RETRANSMISSION, type Ask, type Exchange, type Outcome } from "./exchanges.ts";
import type { ClientFailure } from "./failure.ts";
import { Session } from "./session.ts";

/** Defaults of {@link ClientOptions} that don't depend on the transport. */
const DEFAULTS = { refreshFraction: 0.75, maxOperations: 1000 } as const;

type Settings = ClientOptions &
  Required<Pick<ClientOptions, keyof typeof RETRANSMISSION | keyof typeof DEFAULTS | "keepaliveMs">>;

/** Something whose time comes, beside requests. */
export interface Upkeep {
  readonly kind: "upkeep";
  handleTimer(now: Now): void;
}

/** What the parts of a client share: settings, timers, requests under way, outputs that wait, operations. */
export class ClientCore {
  readonly options: Settings;
  readonly session: Session;
  readonly timers: TimerHeap<Exchange | Upkeep> = new TimerHeap<Exchange | Upkeep>();
  readonly exchanges: Exchanges;
  /** When something last went to the server. */
  lastSentMs = 0;
  /** Called when the server knows no allocation of ours: 437 (RFC 8656 §8.3, §10.3). */
  onMismatch: (failure: ClientFailure) => void = () => undefined;
  readonly #operations = new Map<number, Exchange | undefined>();
  #lastOperation = 0;
  #outputs: ClientOutput[] = [];
  #next = 0;

  constructor(options: ClientOptions) {
    const keepaliveMs = options.keepaliveMs ?? (options.reliable ? 0 : 25_000);
    this.options = { ...RETRANSMISSION, ...DEFAULTS, ...options, keepaliveMs };
    check(this.options);
    this.session = new Session({ crypto: options.crypto, credentials: options.credentials });
    this.exchanges = new Exchanges({
      options: this.options,
      session: this.session,
      timers: this.timers,
      send: (bytes, now) => this.send(bytes, now),
    });
  }

  send(bytes: Uint8Array, now: Now): void {
    this.lastSentMs = now.monotonicMs;
    this.output({ kind: "send", bytes });
  }

  sendIndication(method: Method, now: Now): void {
    const { random, software: name, fingerprint } = this.options;
    const attributes = name === undefined ? [] : [attribute(software, name)];
    const transactionId = random(12);
    this.send(
      encodeMessage({ class: "indication", method, transactionId, attributes, fingerprint: fingerprint ?? false }),
      now,
    );
  }

  output(output: ClientOutput): void {
    this.#outputs.push(output);
  }

  poll(): ClientOutput | undefined {
    if (this.#next === this.#outputs.length) {
      if (this.#next > 0) {
        this.#outputs = [];
        this.#next = 0;
      }
      return undefined;
    }
    return this.#outputs[this.#next++];
  }

  /** A new operation; it has failed already if there are too many. */
  begin(): number {
    const operation = ++this.#lastOperation;
    if (this.#operations.size >= this.options.maxOperations) {
      this.output({ kind: "failed", operation, failure: { code: "tooManyOperations" } });
    } else {
      this.#operations.set(operation, undefined);
    }
    return operation;
  }

  isOpen(operation: number): boolean {
    return this.#operations.has(operation);
  }

  /** The request that an operation rests on, if it is one of its own. */
  ask(operation: number, ask: Omit<Ask, "settle">, settle: (outcome: Outcome, now: Now) => void, now: Now): void {
    if (!this.isOpen(operation)) return;
    this.#operations.set(operation, this.exchanges.start({ ...ask, settle }, now));
  }

  /** As {@link ask}, with every other request waiting until `exchanges.release`. */
  askAlone(operation: number, ask: Omit<Ask, "settle">, settle: (outcome: Outcome, now: Now) => void, now: Now): void {
    if (this.isOpen(operation)) this.#operations.set(operation, this.exchanges.startAlone({ ...ask, settle }, now));
  }

  complete(operation: number, completion: Completion): void {
    if (this.#operations.delete(operation)) this.output({ kind: "completed", operation, completion });
  }

  fail(operation: number, failure: ClientFailure): void {
    if (this.#operations.delete(operation)) this.output({ kind: "failed", operation, failure });
  }

  abort(operation: number): void {
    const exchange = this.#operations.get(operation);
    if (exchange !== undefined) this.exchanges.cancel(exchange);
    this.fail(operation, { code: "aborted" });
  }

  /** An operation that never began: it has no end either. */
  cancelOperation(operation: number): void {
    this.#operations.delete(operation);
  }

  /** Ends every operation but one, and everything that is under way. */
  dropAll(failure: ClientFailure, except?: number): void {
    this.exchanges.cancelAll();
    for (const operation of this.#operations.keys()) {
      if (operation !== except) this.fail(operation, failure);
    }
  }

  /** True if the answer was that there is no allocation; then all is over. */
  isMismatch(failure: ClientFailure): boolean {
    if (failure.code !== "refused" || failure.error.code !== 437) return false;
    this.onMismatch(failure);
    return true;
  }

  /** When to try the refresh of something again that was refused or not answered. */
  retryAtMs(expiresAtMs: number, now: Now): number {
    return Math.min(expiresAtMs, now.monotonicMs + Math.max(1000, (expiresAtMs - now.monotonicMs) / 4));
  }
}

function check(options: Settings): void {
  const { refreshFraction, initialRtoMs, maxTransmissions, lastWaitRtos, reliableTimeoutMs, keepaliveMs } = options;
  if (!(refreshFraction >= 0.1 && refreshFraction <= 0.95)) {
    throw new RangeError(`Cannot use refreshFraction ${refreshFraction}: expected 0.1 to 0.95`);
  }
  for (const [name, value] of Object.entries({ initialRtoMs, lastWaitRtos, reliableTimeoutMs })) {
    if (!(value > 0 && Number.isFinite(value)))
      throw new RangeError(`Cannot use ${name} ${value}: expected more than 0`);
  }
  if (!Number.isInteger(maxTransmissions) || maxTransmissions < 1 || maxTransmissions > 20) {
    throw new RangeError(`Cannot use maxTransmissions ${maxTransmissions}: expected an integer from 1 to 20`);
  }
  if (!(keepaliveMs >= 0)) throw new RangeError(`Cannot use keepaliveMs ${keepaliveMs}: expected 0 or more`);
}
