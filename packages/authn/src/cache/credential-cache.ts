import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../core/clock.ts";
import { OperationContext } from "../core/operation-context.ts";
import type { Secret } from "../core/secret.ts";
import { foldUsername, type Verified } from "../verifiers/verifier.ts";
import { type CacheCounters, type CacheStatistics, newCounters } from "./cache-counters.ts";
import type { CacheIdentity } from "./cache-key.ts";
import { type CacheSettings, parseCacheSettings } from "./cache-settings.ts";
import { EntryStore } from "./entry-store.ts";
import type { FlushBus, FlushScope } from "./flush-bus.ts";
import { ScryptDigester, type SecretDigester } from "./secret-digest.ts";

/** Settings, and what a cache needs from the world. */
export interface CredentialCacheOptions extends Partial<CacheSettings> {
  readonly clock?: Clock;
  /** Default: scrypt (`docs/decisions/0003-cache-digest.md` says why). */
  readonly digester?: SecretDigester;
  /** Carries flushes to and from the other portals of a fleet. Default: there are none. */
  readonly flushBus?: FlushBus;
}

/** What a flush did. */
export interface FlushReport {
  /** How many successes were forgotten, on this host. */
  readonly removed: number;
  /** Whether the other portals were told; `none`: there are none. */
  readonly fleet: { readonly kind: "none" | "told" } | { readonly kind: "notTold"; readonly cause: Error };
}

/**
 * Taken before a provider is asked. A flush meanwhile marks it, and the answer, which may be older than the reason for
 * the flush, isn't kept.
 */
export interface Ticket {
  readonly identity: CacheIdentity;
  readonly askedAtMs: number;
  readonly askedAtUnixMs: number;
  flushed: boolean;
}

/** What may be kept of a secret. */
export interface SaltedDigest {
  readonly salt: Uint8Array;
  readonly digest: Uint8Array;
}

/**
 * Successful answers of slow providers, remembered for a short time. Bounded: what expires soonest makes room. Of a
 * secret only a salted, slow digest stays. One cache may stand behind several {@link CachedVerifier}s.
 *
 * @example
 * const cache = new CredentialCache({ enabled: true, expirySeconds: 30, size: 10 });
 * const verifier = new CachedVerifier({ verifier: slow, cache });
 * await cache.flush(ctx, { username: "ann" });
 */
export class CredentialCache {
  #settings: CacheSettings;
  readonly #clock: Clock;
  readonly #digester: SecretDigester;
  readonly #bus: FlushBus | undefined;
  readonly #unsubscribe: (() => void) | undefined;
  readonly #origin: string = randomUUID();
  readonly #tickets = new Set<Ticket>();
  /** For {@link CachedVerifier} to look into and to count in. */
  readonly store: EntryStore;
  readonly counters: CacheCounters = newCounters();

  /** @throws RangeError if a setting is out of range */
  constructor({ clock = systemClock, digester, flushBus, ...settings }: CredentialCacheOptions = {}) {
    this.#settings = parseCacheSettings(settings);
    this.#clock = clock;
    this.#digester = digester ?? new ScryptDigester();
    this.store = new EntryStore(this.#settings, { clock, counters: this.counters });
    this.#bus = flushBus;
    this.#unsubscribe = flushBus?.subscribe({
      onFlush: ({ origin, ...scope }) => {
        if (origin === this.#origin) return;
        this.counters.remoteFlushes++;
        this.#forget(scope);
      },
      onGap: () => {
        this.counters.gaps++;
        this.#forget({});
      },
    });
  }

  /** What is in force. */
  get settings(): CacheSettings {
    return this.#settings;
  }

  /**
   * Changes settings while in use. A smaller size evicts what expires soonest; a shorter expiry holds for what is kept
   * already, a longer one only for what comes; disabling forgets everything.
   *
   * @throws RangeError if a setting is out of range; nothing is changed then
   */
  configure(ctx: OperationContext, changes: Partial<CacheSettings>): CacheSettings {
    OperationContext.assert(ctx);
    const settings = parseCacheSettings({ ...this.#settings, ...changes });
    this.#settings = settings;
    if (!settings.enabled) this.#forget({});
    this.store.configure(settings);
    ctx.logger.info({ requestId: ctx.requestId, ...settings }, "credential cache was configured");
    return settings;
  }

  /** Figures for operators and metrics; they name nobody. */
  inspect(ctx: OperationContext): CacheStatistics {
    OperationContext.assert(ctx);
    return {
      ...this.counters,
      settings: this.#settings,
      entries: this.store.size,
      negativeEntries: this.store.wrongSize,
      underWay: this.#tickets.size,
    };
  }

  /**
   * Forgets one user, one provider, or everything, here and in the whole fleet. An answer that is on its way from a
   * provider meanwhile is given to whoever asked for it, but not kept.
   */
  async flush(ctx: OperationContext, scope: FlushScope = {}): Promise<FlushReport> {
    OperationContext.assert(ctx);
    const removed = this.#forget(scope);
    this.counters.flushes++;
    ctx.logger.info({ requestId: ctx.requestId, removed }, "credential cache was flushed");
    if (this.#bus === undefined) return { removed, fleet: { kind: "none" } };
    try {
      await this.#bus.publish({ ...scope, origin: this.#origin });
      return { removed, fleet: { kind: "told" } };
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      ctx.logger.error({ requestId: ctx.requestId, error: cause.message }, "the fleet could not be told of a flush");
      return { removed, fleet: { kind: "notTold", cause } };
    }
  }

  /** Leaves the fleet and forgets everything. */
  close(): void {
    this.#unsubscribe?.();
    this.#forget({});
  }

  /** For {@link CachedVerifier}, before a provider is asked; to be given back with {@link release}. */
  ticket(identity: CacheIdentity): Ticket {
    const ticket: Ticket = {
      identity,
      askedAtMs: this.#clock.monotonicMs(),
      askedAtUnixMs: this.#clock.unixMs(),
      flushed: false,
    };
    this.#tickets.add(ticket);
    return ticket;
  }

  /** For {@link CachedVerifier}, when the provider's answer was dealt with. */
  release(ticket: Ticket): void {
    this.#tickets.delete(ticket);
  }

  /** For {@link CachedVerifier}: the digest of a secret under a salt that is in use. */
  digest(password: Secret, salt: Uint8Array): Promise<Uint8Array> {
    return this.#digester.digest(password, salt);
  }

  /** For {@link CachedVerifier}: the digest of a secret under a salt of its own. */
  async digestFresh(password: Secret): Promise<SaltedDigest> {
    const salt = this.#digester.salt();
    return { salt, digest: await this.#digester.digest(password, salt) };
  }

  /** For {@link CachedVerifier}: keeps a success, unless a flush or its own age stands against it. */
  insert(ticket: Ticket, digested: SaltedDigest, result: Verified): void {
    const { enabled, size } = this.#settings;
    if (enabled && size <= 0) return;
    const { identity, askedAtMs, askedAtUnixMs, flushed } = ticket;
    const endsAtMs = askedAtMs + ((result.expiresAtUnixMs ?? Infinity) - askedAtUnixMs);
    const kept = enabled && !flushed && this.store.insert({ ...digested, identity, result, askedAtMs, endsAtMs });
    if (kept) this.counters.inserts++;
    else this.counters.insertsRefused++;
  }

  #forget(scope: FlushScope): number {
    const matches = matcher(scope);
    for (const ticket of this.#tickets) if (matches(ticket.identity)) ticket.flushed = true;
    return this.store.forget(matches);
  }
}

/** A flush by name takes every spelling along: to forget too much costs one question more, too little a revocation. */
function matcher({ provider, realm, username }: FlushScope): (identity: CacheIdentity) => boolean {
  const folded = username === undefined ? undefined : foldUsername(username);
  return (identity) =>
    (provider === undefined || identity.provider === provider) &&
    (realm === undefined || identity.realm === realm) &&
    (folded === undefined || foldUsername(identity.username) === folded);
}
