import type { Rate } from "@turnpike/turn";
import { ACTOR_SLOTS, type ActorRates } from "./actor-rates.ts";

/** Which actor has which slot of {@link ActorRates}: from its first allocation to the end of its last. */
export class ActorSlots {
  readonly #rates: ActorRates;
  readonly #byActor = new Map<string, { readonly slot: number; allocations: number; rateText: string }>();
  readonly #free: number[] = [];
  #next = 0;

  constructor(rates: ActorRates) {
    this.#rates = rates;
  }

  /** A slot for one more allocation of an actor, at this rate from here on. Undefined if all are taken. */
  acquire(actor: string, rate: Rate | undefined, monotonicMs: number): number | undefined {
    const known = this.#byActor.get(actor);
    const rateText = JSON.stringify(rate ?? {});
    if (known !== undefined) {
      if (known.rateText !== rateText) {
        this.#rates.configureActor(known.slot, rate, monotonicMs);
        known.rateText = rateText;
      }
      known.allocations++;
      return known.slot;
    }
    const slot = this.#free.pop() ?? (this.#next < ACTOR_SLOTS ? this.#next++ : undefined);
    if (slot === undefined) return undefined;
    this.#byActor.set(actor, { slot, allocations: 1, rateText });
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

  /** Sets the rate of an actor that has a slot. */
  configure(actor: string, rate: Rate | undefined, monotonicMs: number): void {
    const known = this.#byActor.get(actor);
    if (known === undefined) return;
    this.#rates.configureActor(known.slot, rate, monotonicMs);
    known.rateText = JSON.stringify(rate ?? {});
  }

  /** Actors that have a slot. */
  actors(): IterableIterator<string> {
    return this.#byActor.keys();
  }
}
