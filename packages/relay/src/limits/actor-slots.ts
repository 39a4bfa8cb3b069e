import type { Rate } from "@turnpike/turn";
import { ACTOR_SLOTS, type ActorRates } from "./actor-rates.ts";

interface Slot {
  readonly slot: number;
  allocations: number;
  rateText: string;
}

/** Which actor has which slot of {@link ActorRates}: from its first allocation to the end of its last. */
export class ActorSlots {
  readonly #rates: ActorRates;
  readonly #byActor = new Map<string, Slot>();
  readonly #free: number[] = [];
  #next = 0;

  constructor(rates: ActorRates) {
    this.#rates = rates;
  }

  /** A slot for one more allocation of an actor, at this rate from here on. Undefined if all are taken. */
  acquire(actor: string, rate: Rate | undefined, monotonicMs: number): number | undefined {
    const known = this.#byActor.get(actor);
    if (known !== undefined) {
      this.#setRate(known, rate, monotonicMs);
      known.allocations++;
      return known.slot;
    }
    const slot = this.#free.pop() ?? (this.#next < ACTOR_SLOTS ? this.#next++ : undefined);
    if (slot === undefined) return undefined;
    this.#byActor.set(actor, { slot, allocations: 1, rateText: JSON.stringify(rate ?? {}) });
    this.#rates.configureActor(slot, rate, monotonicMs);
    return slot;
  }

  /** An allocation of an actor ended. */
  release(actor: string): void {
    const known = this.#byActor.get(actor);
    if (known === undefined) return;
    known.allocations--;
    if (known.allocations > 0) return;
    this.#byActor.delete(actor);
    this.#free.push(known.slot);
  }

  /** Sets the rate of an actor that has a slot; the slot. The same rate again leaves its buckets as they are. */
  configure(actor: string, rate: Rate | undefined, monotonicMs: number): number | undefined {
    const known = this.#byActor.get(actor);
    if (known === undefined) return undefined;
    this.#setRate(known, rate, monotonicMs);
    return known.slot;
  }

  #setRate(known: Slot, rate: Rate | undefined, monotonicMs: number): void {
    const rateText = JSON.stringify(rate ?? {});
    if (known.rateText === rateText) return;
    this.#rates.configureActor(known.slot, rate, monotonicMs);
    known.rateText = rateText;
  }
}
