import type { TransportAddress } from "@turnpike/stun";
import type { AllocationLimits, ClientTransport, Rate } from "@turnpike/turn";
import type { Logger } from "../logger.ts";
import type { ActorSlots } from "../limits/actor-slots.ts";
import type { SourceRates } from "../limits/source-rates.ts";
import type { AdmissionDecision } from "../reactor/reactor.ts";
import { SampledLog } from "../sampled-log.ts";
import type { AdmissionStore, Reserved } from "./admission-store.ts";
import { checkQuotas, quotasFor, type QuotaSettings } from "./quotas.ts";
import { redirectionFor, type RedirectPolicy } from "./redirect.ts";

/** Who wants to allocate. */
export interface AdmissionContext {
  /** Who that is, whatever name it came by: what quotas and limits go by. */
  readonly actor: string;
  readonly username: string;
  /** Which authentication scheme proved it. */
  readonly scheme: string;
  readonly client: TransportAddress;
  readonly transport: ClientTransport;
}

/** What one user may. Each absent: what the settings say for all. */
export interface UserLimits {
  /** Allocations at once. */
  readonly allocations?: number;
  /** Caps the lifetime of an allocation. */
  readonly maxLifetimeSeconds?: number;
  /** Of each allocation. */
  readonly allocationRate?: Rate;
  /** Of all allocations of the user together. */
  readonly userRate?: Rate;
}

/** Tells what a user may. Asked before the relay socket is opened; undefined: what the settings say for all. */
export type LimitsFor = (context: AdmissionContext) => UserLimits | undefined | Promise<UserLimits | undefined>;

/** What of admission can change while the relay runs. */
export interface AdmissionSettings {
  readonly quotas?: QuotaSettings;
  readonly allocationRate?: Rate;
  readonly userRate?: Rate;
  readonly limitsFor?: LimitsFor;
  readonly redirect?: RedirectPolicy;
}

/** What {@link AdmissionControl} is made with. */
export interface AdmissionControlOptions {
  /** Names this relay's leases; unique in the fleet and in time. */
  readonly relayId: string;
  readonly store: AdmissionStore;
  /** What happens while the store can't be reached. */
  readonly whenStoreAway: "refuse" | "admit";
  readonly sourceRates: SourceRates;
  readonly slots: ActorSlots;
  /** Whether every allocation needs a slot, since all together have a rate. */
  readonly needsSlot: () => boolean;
  readonly monotonicMs: () => number;
  readonly logger: Logger;
}

/** Names an allocation: the reactor that asks, and its question. */
export interface Asker {
  readonly reactor: number;
  readonly questionId: number;
}

interface Admitted {
  readonly actor: string;
  readonly lease: string | undefined;
  readonly hasSlot: boolean;
}

const QUOTA_TEXTS: Readonly<Record<string, string>> = {
  user: "Allocation Quota Reached",
  prefix: "Allocation Quota Reached: too many allocations from this network",
  total: "Allocation Quota Reached: the relay is full",
};

/**
 * Decides on new allocations, for all reactors of a relay: redirects, quotas, limits. Each allocation that is admitted
 * is released once, whatever becomes of it.
 */
export class AdmissionControl {
  readonly #options: AdmissionControlOptions;
  readonly #log: SampledLog;
  readonly #admitted = new Map<string, Admitted>();
  readonly #ended = new Set<number>();
  #settings: AdmissionSettings = {};
  #closed = false;

  constructor(options: AdmissionControlOptions) {
    this.#options = options;
    this.#log = new SampledLog(options);
  }

  /** Allocations that were admitted and not released. */
  get count(): number {
    return this.#admitted.size;
  }

  /** Takes settings over: what lives stays, what comes is held to them. @throws RangeError that names the setting. */
  configure(settings: AdmissionSettings): void {
    checkQuotas(settings.quotas ?? {});
    this.#settings = settings;
    for (const actor of this.#options.slots.actors()) {
      if (settings.limitsFor === undefined) {
        this.#options.slots.configure(actor, settings.userRate, this.#options.monotonicMs());
      }
    }
  }

  /** A reactor serves. */
  reactorStarted(reactor: number): void {
    this.#ended.delete(reactor);
  }

  /** A reactor is gone: what it held is released, also what it was just asking for. */
  reactorEnded(reactor: number): void {
    this.#ended.add(reactor);
    for (const key of this.#admitted.keys()) {
      if (key.startsWith(`${reactor}/`)) this.#release(key);
    }
  }

  /** May this user allocate? At once if nobody slow has to be asked. Never rejects. */
  admit(
    asker: Asker,
    context: AdmissionContext,
    load: { readonly draining: boolean },
  ): AdmissionDecision | Promise<AdmissionDecision> {
    const { sourceRates, monotonicMs } = this.#options;
    if (!sourceRates.admitsAllocation(context.client, monotonicMs())) {
      return refusal(486, "Allocation Quota Reached: too many allocations a second from this network");
    }
    const redirection = this.#redirect(context, load);
    if (redirection !== undefined) return redirection;
    if (load.draining) return refusal(508, "Insufficient Capacity: the relay is closing");
    try {
      const limits = this.#settings.limitsFor?.(context);
      if (limits instanceof Promise) {
        return limits.then(
          (late) => this.#reserve(asker, context, late),
          (error: unknown) => this.#limitsFailed(error),
        );
      }
      return this.#reserve(asker, context, limits);
    } catch (error) {
      return this.#limitsFailed(error);
    }
  }

  /** The allocation lives. */
  commit(asker: Asker): void {
    const { lease } = this.#admitted.get(keyOf(asker)) ?? {};
    if (lease !== undefined) void this.#options.store.commit(lease);
  }

  /** The allocation ended, or never came to be. */
  release(asker: Asker): void {
    this.#release(keyOf(asker));
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const key of this.#admitted.keys()) this.#release(key);
    await this.#options.store.close();
  }

  #redirect(context: AdmissionContext, load: { readonly draining: boolean }): AdmissionDecision | undefined {
    const { redirect } = this.#settings;
    if (redirect === undefined) return undefined;
    try {
      const redirection = redirectionFor(redirect, { ...context, load: { allocations: this.count, ...load } });
      return redirection === undefined
        ? undefined
        : { admitted: false, code: 300, reason: "Try Alternate", ...redirection };
    } catch (error) {
      this.#log.error({ err: error }, "The redirect policy failed: the client stays");
      return undefined;
    }
  }

  #reserve(
    asker: Asker,
    context: AdmissionContext,
    limits: UserLimits | undefined,
  ): AdmissionDecision | Promise<AdmissionDecision> {
    const { actor, client } = context;
    const { store, relayId } = this.#options;
    const quotas = quotasFor(this.#settings.quotas ?? {}, { actor, client, user: limits?.allocations });
    if (quotas.length === 0) return this.#grant(asker, context, limits, undefined);
    const lease = `${relayId}/${keyOf(asker)}`;
    const settle = (reserved: Reserved): AdmissionDecision => {
      if (reserved.granted) return this.#grant(asker, context, limits, lease);
      return refusal(486, QUOTA_TEXTS[reserved.full.split(" ", 1)[0] ?? ""] ?? "Allocation Quota Reached");
    };
    try {
      const reserved = store.reserve({ lease, quotas });
      if (!(reserved instanceof Promise)) return settle(reserved);
      return reserved.then(settle, (error: unknown) => this.#storeFailed(error, asker, context, limits));
    } catch (error) {
      return this.#storeFailed(error, asker, context, limits);
    }
  }

  #grant(
    asker: Asker,
    { actor }: AdmissionContext,
    limits: UserLimits | undefined,
    lease: string | undefined,
  ): AdmissionDecision {
    const { slots, monotonicMs, store, needsSlot } = this.#options;
    const giveBack = (): void => {
      if (lease !== undefined) void store.release(lease);
    };
    // While the store was asked, the reactor may have died, or the relay been stopped.
    if (this.#closed || this.#ended.has(asker.reactor)) {
      giveBack();
      return refusal(508, "Insufficient Capacity: the relay is closing");
    }
    const allocation = limits?.allocationRate ?? this.#settings.allocationRate;
    const userRate = limits?.userRate ?? this.#settings.userRate;
    const hasSlot = userRate !== undefined || needsSlot();
    const actorSlot = hasSlot ? slots.acquire(actor, userRate, monotonicMs()) : undefined;
    if (hasSlot && actorSlot === undefined) {
      giveBack();
      return refusal(508, "Insufficient Capacity: too many users with limits");
    }
    this.#admitted.set(keyOf(asker), { actor, lease, hasSlot });
    const passed: AllocationLimits = {
      ...(allocation === undefined ? {} : { allocation }),
      ...(actorSlot === undefined ? {} : { actorSlot }),
    };
    return {
      admitted: true,
      ...(limits?.maxLifetimeSeconds === undefined ? {} : { maxLifetimeSeconds: limits.maxLifetimeSeconds }),
      limits: passed,
    };
  }

  #release(key: string): void {
    const admitted = this.#admitted.get(key);
    if (admitted === undefined) return;
    this.#admitted.delete(key);
    if (admitted.hasSlot) this.#options.slots.release(admitted.actor);
    if (admitted.lease !== undefined) void this.#options.store.release(admitted.lease);
  }

  #limitsFailed(error: unknown): AdmissionDecision {
    this.#log.error({ err: error }, "limitsFor failed: the allocation is refused");
    return refusal(508, "Insufficient Capacity: limits are not known");
  }

  #storeFailed(
    error: unknown,
    asker: Asker,
    context: AdmissionContext,
    limits: UserLimits | undefined,
  ): AdmissionDecision {
    const admit = this.#options.whenStoreAway === "admit";
    this.#log.error({ err: error, admit }, "Quotas can't be checked");
    return admit
      ? this.#grant(asker, context, limits, undefined)
      : refusal(508, "Insufficient Capacity: quotas can't be checked");
  }
}

function refusal(code: 486 | 508, reason: string): AdmissionDecision {
  return { admitted: false, code, reason };
}

function keyOf({ reactor, questionId }: Asker): string {
  return `${reactor}/${questionId}`;
}
