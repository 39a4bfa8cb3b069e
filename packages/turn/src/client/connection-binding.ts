import { attribute, connectionId, decodeMessage, HEADER_LENGTH, isStun } from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import { TimerHeap } from "../server/timer-heap.ts";
import type { ClientOptions } from "./contract.ts";
import { Exchanges, RETRANSMISSION, type Exchange } from "./exchanges.ts";
import type { ClientFailure } from "./failure.ts";
import type { TurnClient } from "./client.ts";

/** What a {@link ConnectionBinding} is made with. */
export interface ConnectionBindingOptions extends Pick<
  ClientOptions,
  "crypto" | "random" | "software" | "fingerprint" | "reliableTimeoutMs"
> {
  /** The client with the TCP allocation: its credentials and realm are used, the nonce only as long as it serves. */
  readonly client: TurnClient;
  /** From the `connect` completion or the `connectionAttempt` output. */
  readonly connectionId: number;
}

/** How binding a data connection stands. `bound`: from here on it carries the peer's bytes. */
export type BindingState =
  | { readonly kind: "pending" }
  | { readonly kind: "bound" }
  | { readonly kind: "failed"; readonly failure: ClientFailure };

/**
 * Binds a TCP or TLS connection to a peer's (RFC 6062 §4.3, ConnectionBind). After each input, send what
 * `pollOutput()` gives until it gives nothing, and look at `state`.
 */
export class ConnectionBinding {
  readonly #exchanges: Exchanges;
  readonly #timers = new TimerHeap<Exchange>();
  readonly #outputs: Uint8Array[] = [];
  #state: BindingState = { kind: "pending" };
  #buffered: Uint8Array = new Uint8Array(0);

  constructor(options: ConnectionBindingOptions, now: Now) {
    this.#exchanges = new Exchanges({
      options: { ...RETRANSMISSION, ...options, reliable: true },
      session: options.client.session.fork(),
      timers: this.#timers,
      send: (bytes) => this.#outputs.push(bytes),
    });
    this.#exchanges.start(
      {
        method: "connectionBind",
        attributes: [attribute(connectionId, options.connectionId)],
        authenticated: true,
        settle: (outcome) => {
          this.#state = outcome.ok ? { kind: "bound" } : { kind: "failed", failure: outcome.failure };
        },
      },
      now,
    );
  }

  get state(): BindingState {
    return this.#state;
  }

  /**
   * Bytes from the server.
   *
   * @returns what follows the answer: the peer's first bytes, if the connection is bound; else nothing.
   */
  handleBytes(chunk: Uint8Array, now: Now): Uint8Array {
    this.#buffered = concatenated(this.#buffered, chunk);
    while (this.#state.kind === "pending" && this.#buffered.length >= HEADER_LENGTH) {
      const bytes = this.#buffered;
      const length = HEADER_LENGTH + ((bytes[2]! << 8) | bytes[3]!);
      if (!isStun(bytes[0]!)) {
        this.#state = { kind: "failed", failure: { code: "malformedResponse", detail: "not a STUN message" } };
        break;
      }
      if (bytes.length < length) break;
      this.#buffered = bytes.subarray(length);
      const decoded = decodeMessage(bytes, 0, length);
      if (decoded.ok) this.#exchanges.handleAnswer(decoded.message, now);
    }
    return this.#state.kind === "bound" ? this.#buffered : NOTHING;
  }

  handleClosed(now: Now): void {
    this.#exchanges.failAll({ code: "transportFailed" }, now);
  }

  handleTimeout(now: Now): void {
    for (let item = this.#timers.pop(now.monotonicMs); item !== undefined; item = this.#timers.pop(now.monotonicMs)) {
      this.#exchanges.handleTimer(item, now);
    }
  }

  /** Bytes to send to the server. */
  pollOutput(): Uint8Array | undefined {
    return this.#outputs.shift();
  }

  pollTimeout(): number | undefined {
    return this.#timers.peekDeadlineMs();
  }
}

const NOTHING = new Uint8Array(0);

function concatenated(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
