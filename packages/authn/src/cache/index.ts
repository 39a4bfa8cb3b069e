export { BoundedPriorityQueue, type QueueEntry } from "./bounded-priority-queue.ts";
export type { CacheCounters, CacheStatistics } from "./cache-counters.ts";
export { CachedVerifier, type CachedVerifierEvent, type CachedVerifierOptions } from "./cached-verifier.ts";
export { type CacheSettings } from "./cache-settings.ts";
export { CredentialCache, type CredentialCacheOptions, type FlushReport } from "./credential-cache.ts";
export {
  decodeFlushMessage,
  encodeFlushMessage,
  type FlushBus,
  type FlushMessage,
  type FlushMessageError,
  type FlushScope,
  type FlushSubscriber,
  LocalFlushBus,
} from "./flush-bus.ts";
export { ScryptDigester, type ScryptDigesterOptions, type SecretDigester } from "./secret-digest.ts";
