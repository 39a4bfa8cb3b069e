import { BoundedPriorityQueue } from "../cache/bounded-priority-queue.ts";
import type { AddressPrefix, AttemptSource } from "./source.ts";

/** Whom a ban shuts out. */
export type BanSubject =
  | { readonly kind: "prefix"; readonly prefix: AddressPrefix }
  | { readonly kind: "user"; readonly user: string };

/** A ban that hasn't ended. */
export interface Ban {
  readonly subject: BanSubject;
  /** For those who look at the list. */
  readonly reason: string;
  /** Monotonic milliseconds. */
  readonly untilMs: number;
}

/** Bans with their ends, bounded: the soonest to end makes room. Time is an input. */
export class BanList {
  readonly #bans: BoundedPriorityQueue<string, Ban>;

  constructor({ capacity }: { readonly capacity: number }) {
    this.#bans = new BoundedPriorityQueue({ capacity });
  }

  /** How many bans there are, ended ones that nobody looked for among them. */
  get size(): number {
    return this.#bans.size;
  }

  /** Shuts somebody out, in place of a ban that there was. */
  add(ban: Ban): void {
    this.#bans.set(keyOf(ban.subject), ban, ban.untilMs);
  }

  /** Lets somebody in again; tells whether there was a ban. */
  remove(subject: BanSubject, nowMs: number): boolean {
    this.#bans.popUpTo(nowMs);
    return this.#bans.delete(keyOf(subject));
  }

  /** The ban that keeps this source out: of two, the one that lasts longer. */
  find({ prefix, user }: AttemptSource, nowMs: number): Ban | undefined {
    this.#bans.popUpTo(nowMs);
    const byPrefix = this.#bans.get(keyOf({ kind: "prefix", prefix }));
    const byUser = this.#bans.get(keyOf({ kind: "user", user }));
    if (byPrefix === undefined || byUser === undefined) return byPrefix ?? byUser;
    return byPrefix.untilMs >= byUser.untilMs ? byPrefix : byUser;
  }

  /** Whether a whole network is kept out, whoever the user is. */
  hasPrefix(prefix: AddressPrefix, nowMs: number): boolean {
    this.#bans.popUpTo(nowMs);
    return this.#bans.has(keyOf({ kind: "prefix", prefix }));
  }

  /** Changes how many bans there may be. */
  resize(capacity: number): void {
    this.#bans.resize(capacity);
  }

  /** All bans, the soonest to end first. */
  list(nowMs: number): readonly Ban[] {
    this.#bans.popUpTo(nowMs);
    return Array.from(this.#bans.entries(), (entry) => entry.value).toSorted((a, b) => a.untilMs - b.untilMs);
  }
}

function keyOf(subject: BanSubject): string {
  return subject.kind === "prefix" ? `prefix ${subject.prefix}` : `user ${subject.user}`;
}
