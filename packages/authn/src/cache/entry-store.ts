import type { Clock } from "../core/clock.ts";
import type { Verified } from "../verifiers/verifier.ts";
import { BoundedPriorityQueue } from "./bounded-priority-queue.ts";
import type { CacheCounters } from "./cache-counters.ts";
import { type CacheIdentity, cacheKey } from "./cache-key.ts";
import type { CacheSettings } from "./cache-settings.ts";
import { sameDigest } from "./secret-digest.ts";

/** A success that is remembered. All times are monotonic milliseconds. */
export interface CacheEntry {
  readonly identity: CacheIdentity;
  /** Of this entry alone. */
  readonly salt: Uint8Array;
  readonly digest: Uint8Array;
  readonly result: Verified;
  /** When the question was asked that `result` answers. */
  readonly askedAtMs: number;
  /** When the credential itself ends, as far as the provider said. */
  readonly endsAtMs: number;
  /** From when on it answers no more for the provider. */
  expiresAtMs: number;
}

/** An answer of a provider on its way into the store. */
export type NewEntry = Omit<CacheEntry, "expiresAtMs">;

/** Wrong passwords of one user, digested under the salt of the entry that they were compared with. */
interface WrongSecrets {
  readonly entry: CacheEntry;
  readonly digests: readonly { readonly digest: Uint8Array; readonly untilMs: number }[];
}

const MAX_WRONG_PER_USER = 4;

/** The two bounded queues of a cache, and the rules of their time. Asks nobody and waits for nothing. */
export class EntryStore {
  #settings: CacheSettings;
  readonly #clock: Clock;
  readonly #counters: CacheCounters;
  readonly #entries: BoundedPriorityQueue<string, CacheEntry>;
  readonly #wrong: BoundedPriorityQueue<string, WrongSecrets>;

  constructor(settings: CacheSettings, { clock, counters }: { clock: Clock; counters: CacheCounters }) {
    this.#settings = settings;
    this.#clock = clock;
    this.#counters = counters;
    this.#entries = new BoundedPriorityQueue({ capacity: settings.size });
    this.#wrong = new BoundedPriorityQueue({ capacity: settings.negativeSize });
  }

  /** How many successes are kept. */
  get size(): number {
    this.#sweep();
    return this.#entries.size;
  }

  /** For how many users wrong secrets are kept. */
  get wrongSize(): number {
    this.#sweep();
    return this.#wrong.size;
  }

  /** Takes over settings. What is kept already may get less time, never more. */
  configure(settings: CacheSettings): void {
    this.#settings = settings;
    for (const { key } of this.#entries.resize(settings.size)) this.#evicted(key);
    this.#wrong.resize(settings.negativeSize);
    for (const { key, value, priority } of this.#entries.entries()) {
      value.expiresAtMs = Math.min(value.expiresAtMs, this.#expiryOf(value));
      const leavesAtMs = this.#leavingOf(value);
      if (leavesAtMs < priority) this.#entries.set(key, value, leavesAtMs);
    }
  }

  /** What is remembered of a user: fresh, or allowed to stand in for an absent provider ({@link isFresh}). */
  find(identity: CacheIdentity): CacheEntry | undefined {
    this.#sweep();
    const key = cacheKey(identity);
    const entry = this.#entries.get(key);
    // The wall clock may have been set forward since: what it says of an end counts too.
    const endsAtUnixMs = entry?.result.expiresAtUnixMs ?? Infinity;
    if (entry === undefined || this.#clock.unixMs() < endsAtUnixMs) return entry;
    this.#drop(key);
    this.#counters.expired++;
    return undefined;
  }

  /** Whether {@link find} gives `entry` still: not flushed, replaced, evicted or run out since. */
  isCurrent(entry: CacheEntry): boolean {
    return this.find(entry.identity) === entry;
  }

  /** Whether `entry` may answer for the provider. */
  isFresh(entry: CacheEntry): boolean {
    return this.#clock.monotonicMs() < entry.expiresAtMs;
  }

  /** Keeps a success; not if its time is over already, or a later question's answer stands there. */
  insert(fresh: NewEntry): boolean {
    this.#sweep();
    const entry: CacheEntry = { ...fresh, expiresAtMs: this.#expiryOf(fresh) };
    const key = cacheKey(entry.identity);
    const present = this.#entries.get(key);
    const later = present !== undefined && present.askedAtMs > entry.askedAtMs;
    const over =
      !this.isFresh(entry) || this.#clock.unixMs() >= (entry.result.expiresAtUnixMs ?? Number.POSITIVE_INFINITY);
    if (later || over || this.#settings.size <= 0) return false;
    this.#wrong.delete(key);
    const evicted = this.#entries.set(key, entry, this.#leavingOf(entry));
    if (evicted !== undefined) this.#evicted(evicted.key);
    return true;
  }

  /** Forgets `entry` if it is still there. */
  withdraw(entry: CacheEntry): boolean {
    if (!this.isCurrent(entry)) return false;
    this.#drop(cacheKey(entry.identity));
    return true;
  }

  /** Forgets what `matches`; tells how many successes went. */
  forget(matches: (identity: CacheIdentity) => boolean): number {
    this.#sweep();
    let removed = 0;
    for (const { key, value } of this.#entries.entries()) {
      if (!matches(value.identity)) continue;
      this.#drop(key);
      removed++;
    }
    return removed;
  }

  /** Remembers for a short time that the provider refused a secret, given as its digest under the salt of `entry`. */
  noteWrong(entry: CacheEntry, digest: Uint8Array): void {
    if (this.#settings.negativeExpirySeconds <= 0 || !this.isCurrent(entry) || this.isWrong(entry, digest)) return;
    const nowMs = this.#clock.monotonicMs();
    const key = cacheKey(entry.identity);
    const present = this.#wrong.get(key);
    const kept = present?.entry === entry ? present.digests.filter(({ untilMs }) => nowMs < untilMs) : [];
    const untilMs = nowMs + this.#settings.negativeExpirySeconds * 1000;
    const digests = [...kept, { digest, untilMs }].slice(-MAX_WRONG_PER_USER);
    this.#wrong.set(key, { entry, digests }, untilMs);
  }

  /** Whether the provider refused that secret a short time ago. */
  isWrong(entry: CacheEntry, digest: Uint8Array): boolean {
    this.#sweep();
    const known = this.#wrong.get(cacheKey(entry.identity));
    if (known?.entry !== entry) return false;
    const nowMs = this.#clock.monotonicMs();
    return known.digests.some((wrong) => nowMs < wrong.untilMs && sameDigest(wrong.digest, digest));
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { key } of this.#entries.popUpTo(nowMs)) {
      this.#wrong.delete(key);
      this.#counters.expired++;
    }
    this.#wrong.popUpTo(nowMs);
  }

  #expiryOf({ askedAtMs, endsAtMs }: NewEntry): number {
    return Math.min(askedAtMs + this.#settings.expirySeconds * 1000, endsAtMs);
  }

  #leavingOf({ expiresAtMs, endsAtMs }: CacheEntry): number {
    return Math.min(expiresAtMs + this.#settings.staleIfUnavailableSeconds * 1000, endsAtMs);
  }

  #evicted(key: string): void {
    this.#wrong.delete(key);
    this.#counters.evictions++;
  }

  #drop(key: string): void {
    this.#entries.delete(key);
    this.#wrong.delete(key);
  }
}
