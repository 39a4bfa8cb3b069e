import type { CacheSettings } from "./cache-settings.ts";

/** What happened since the start. Numbers only: no user is named. */
export interface CacheCounters {
  /** Answered from the cache. */
  hits: number;
  /** Nobody of that name was cached. */
  misses: number;
  /** A cached user came with another password than the cached one. */
  mismatches: number;
  /** Refused from the negative store. */
  negativeHits: number;
  /** Answered past its time, the provider being away. */
  staleHits: number;
  /** Questions that joined one which was already under way. */
  joined: number;
  /** Questions to a provider. */
  backendCalls: number;
  /** Of these, how many got no answer. */
  backendUnavailable: number;
  inserts: number;
  /** Answers that were not kept, because of a flush, a later answer or the end of their time. */
  insertsRefused: number;
  /** Left before their time to make room. */
  evictions: number;
  /** Left at the end of their time. */
  expired: number;
  /** Left because the provider took back what it had said. */
  withdrawn: number;
  /** Flushes asked for on this host. */
  flushes: number;
  /** Flushes that came from the fleet. */
  remoteFlushes: number;
  /** Times that everything was forgotten because messages of the fleet may have been lost. */
  gaps: number;
  /** Refused because too much was under way. */
  overloads: number;
}

/** {@link CacheCounters} and what they stand beside. */
export interface CacheStatistics extends Readonly<CacheCounters> {
  readonly settings: CacheSettings;
  /** How many successes are kept. */
  readonly entries: number;
  /** For how many users wrong passwords are kept. */
  readonly negativeEntries: number;
  /** Questions under way. */
  readonly underWay: number;
}

/** All zero. */
export function newCounters(): CacheCounters {
  return {
    hits: 0,
    misses: 0,
    mismatches: 0,
    negativeHits: 0,
    staleHits: 0,
    joined: 0,
    backendCalls: 0,
    backendUnavailable: 0,
    inserts: 0,
    insertsRefused: 0,
    evictions: 0,
    expired: 0,
    withdrawn: 0,
    flushes: 0,
    remoteFlushes: 0,
    gaps: 0,
    overloads: 0,
  };
}
