import { BoundedPriorityQueue } from "../cache/bounded-priority-queue.ts";
import type { Clock } from "../core/clock.ts";
import { OperationContext } from "../core/operation-context.ts";

/** A nonce that was used. */
export interface UsedNonce {
  readonly keyId: string;
  readonly nonce: string;
  /** How long it must be remembered, in milliseconds. */
  readonly forMs: number;
}

/**
 * Remembers nonces. `full` if there is no room for one more: forgetting one early would let it be replayed. The store of
 * several portals is common to them, and look-up and insertion are one step.
 */
export interface NonceStore {
  remember(ctx: OperationContext, used: UsedNonce): Promise<"fresh" | "replayed" | "full">;
}

const DEFAULT_CAPACITY_PER_KEY = 10_000;
const DEFAULT_MAX_KEYS = 1_000;

/** Nonces in memory, with a bound for each key, so that one signer can't crowd out the others. */
export class MemoryNonceStore implements NonceStore {
  readonly #clock: Clock;
  readonly #capacityPerKey: number;
  readonly #maxKeys: number;
  readonly #keys = new Map<string, BoundedPriorityQueue<string, true>>();

  constructor(options: { readonly clock: Clock; readonly capacityPerKey?: number; readonly maxKeys?: number }) {
    this.#clock = options.clock;
    this.#capacityPerKey = options.capacityPerKey ?? DEFAULT_CAPACITY_PER_KEY;
    this.#maxKeys = options.maxKeys ?? DEFAULT_MAX_KEYS;
  }

  async remember(ctx: OperationContext, { keyId, nonce, forMs }: UsedNonce): Promise<"fresh" | "replayed" | "full"> {
    OperationContext.assert(ctx);
    const nowMs = this.#clock.monotonicMs();
    const nonces = this.#noncesOf(keyId, nowMs);
    if (nonces === undefined) return "full";
    nonces.popUpTo(nowMs);
    if (nonces.has(nonce)) return "replayed";
    if (nonces.size >= this.#capacityPerKey) return "full";
    nonces.set(nonce, true, nowMs + forMs);
    return "fresh";
  }

  #noncesOf(keyId: string, nowMs: number): BoundedPriorityQueue<string, true> | undefined {
    const present = this.#keys.get(keyId);
    if (present !== undefined) return present;
    if (this.#keys.size >= this.#maxKeys) this.#forgetIdleKeys(nowMs);
    if (this.#keys.size >= this.#maxKeys) return undefined;
    const nonces = new BoundedPriorityQueue<string, true>({ capacity: this.#capacityPerKey });
    this.#keys.set(keyId, nonces);
    return nonces;
  }

  #forgetIdleKeys(nowMs: number): void {
    for (const [keyId, nonces] of this.#keys) {
      nonces.popUpTo(nowMs);
      if (nonces.size === 0) this.#keys.delete(keyId);
    }
  }
}
