import { isDeepStrictEqual } from "node:util";
import type { AllocationLimits, LimitChange, Rate } from "@turnpike/turn";
import type { Logger } from "../logger.ts";
import type { ActorSlots } from "../limits/actor-slots.ts";
import type { SourceRates } from "../limits/source-rates.ts";
import type { Clock } from "../reactor/clock.ts";
import type { AdmissionDecision } from "../reactor/reactor.ts";
import { SampledLog } from "../sampled-log.ts";
import type { AdmissionStore, Reserved } from "./admission-store.ts";
import { isOpenTo, type OpenAdmission, TOO_MANY_A_SECOND } from "./open-admission.ts";
import { checkQuotas, quotasFor, type QuotaSettings } from "./quotas.ts";
import { redirectionFor, type RedirectPolicy } from "./redirect.ts";
import { type AdmissionContext, checkRate, checkUserLimits, type LimitsFor, type UserLimits } from "./user-limits.ts";

/** What of admission can change while the relay runs. */
export interface AdmissionSettings {
  readonly quotas?: QuotaSettings;
  readonly allocationRate?: Rate;
  readonly userRate?: Rate;
  /** Of all users together, each way. When it is the bottleneck, they share it fairly. */
  readonly totalRate?: Rate;
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
  /** Tells reactors of other threads that they may admit by themselves. */
  readonly open: OpenAdmission;
  /** Has reactors of other threads name those whom they have admitted by themselves: see {@link AdmissionControl.learn}. */
  readonly askWhoLives: () => void;
  /** Holds allocations of a reactor to other limits. */
  readonly changeLimits: (reactor: number, changes: readonly LimitChange[]) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Names an allocation: the reactor that asks, and its question. */
export interface Asker {
  readonly reactor: number;
  readonly questionId: number;
}

/** Who asks, and which settings it was asked about. */
interface Request {
  readonly asker: Asker;
  readonly context: AdmissionContext;
  readonly generation: number;
}

/** What the reactor of an allocation was told. */
type Grant = Omit<LimitChange, "questionId">;

interface Admitted {
  readonly asker: Asker;
  readonly context: AdmissionContext;
  lease: string | undefined;
  hasSlot: boolean;
  grant: Grant;
}

/** Questions to a slow `limitsFor` about those who live, at a time. */
const REVIEWS_AT_ONCE = 16;
/** Of a quota that nobody is refused by. */
const UNLIMITED = Number.MAX_SAFE_INTEGER;
/** What takes longer is no answer: its client retransmits for 39.5 s (RFC 8489 §6.2.1). */
const LIMITS_TIMEOUT_MS = 10_000;

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
  /** Which settings these are. */
  #generation = 0;
  #closed = false;

  constructor(options: AdmissionControlOptions) {
    this.#options = options;
    this.#log = new SampledLog({ logger: options.logger, monotonicMs: () => this.#nowMs });
  }

  /** Allocations that were admitted and not released. */
  get count(): number {
    return this.#admitted.size;
  }

  /**
   * Takes settings over. What lives stays, and is held to its new rates: at once, or when a slow `limitsFor` has told
   * them.
   *
   * @throws RangeError that names the setting; then none has changed
   */
  configure(settings: AdmissionSettings): void {
    checkQuotas(settings.quotas ?? {});
    for (const name of ["allocationRate", "userRate", "totalRate"] as const) checkRate(name, settings[name]);
    this.#settings = settings;
    this.#generation++;
    this.#options.open.isOpen = isOpenTo(settings);
    if (!isOpenTo(settings)) this.#options.askWhoLives();
    const keys = [...this.#admitted.keys()].values();
    for (let i = 0; i < REVIEWS_AT_ONCE; i++) this.#review(keys, this.#generation);
  }

  /** Whom a reactor has admitted by itself, while nothing was configured that it had to ask for: they are held to what is. */
  learn(admitted: readonly (readonly [Asker, AdmissionContext])[]): void {
    const keys: string[] = [];
    for (const [asker, context] of admitted) {
      const key = keyOf(asker);
      keys.push(key);
      this.#admitted.set(key, { asker, context, lease: undefined, hasSlot: false, grant: { limits: {} } });
    }
    this.#review(keys.values(), this.#generation);
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
    if (!this.#options.sourceRates.admitsAllocation(context.client, this.#nowMs)) {
      return TOO_MANY_A_SECOND;
    }
    const redirection = this.#redirect(context, load);
    if (redirection !== undefined) return redirection;
    if (load.draining) return refusal(508, "Insufficient Capacity: the relay is closing");
    return this.#askLimits({ asker, context, generation: this.#generation }, undefined);
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

  /** `lease`: what is reserved already. */
  #askLimits(request: Request, lease: string | undefined): AdmissionDecision | Promise<AdmissionDecision> {
    const proceed = (given: UserLimits | undefined): AdmissionDecision | Promise<AdmissionDecision> => {
      const limits = checkUserLimits(given);
      return lease === undefined ? this.#reserve(request, limits) : this.#grant(request, limits, lease);
    };
    const fail = (error: unknown): AdmissionDecision => {
      this.#giveBack(lease);
      this.#log.error({ err: error }, "limitsFor failed: the allocation is refused");
      return refusal(508, "Insufficient Capacity: limits are not known");
    };
    try {
      const limits = this.#settings.limitsFor?.(request.context);
      return limits instanceof Promise ? this.#inTime(limits).then(proceed).catch(fail) : proceed(limits);
    } catch (error) {
      return fail(error);
    }
  }

  #reserve(request: Request, limits: UserLimits | undefined): AdmissionDecision | Promise<AdmissionDecision> {
    const { actor, client } = request.context;
    const { store, relayId } = this.#options;
    const quotas = quotasFor(this.#settings.quotas ?? {}, { actor, client, user: limits?.allocations });
    if (quotas.length === 0) return this.#grant(request, limits, undefined);
    const lease = `${relayId}/${keyOf(request.asker)}`;
    const settle = (reserved: Reserved): AdmissionDecision | Promise<AdmissionDecision> => {
      if (reserved.granted) return this.#grant(request, limits, lease);
      return refusal(486, QUOTA_TEXTS[reserved.full.split(" ", 1)[0] ?? ""] ?? "Allocation Quota Reached");
    };
    try {
      const reserved = store.reserve({ lease, quotas });
      if (!(reserved instanceof Promise)) return settle(reserved);
      return reserved.then(settle, (error: unknown) => this.#storeFailed(error, request, limits));
    } catch (error) {
      return this.#storeFailed(error, request, limits);
    }
  }

  #grant(
    request: Request,
    limits: UserLimits | undefined,
    lease: string | undefined,
  ): AdmissionDecision | Promise<AdmissionDecision> {
    const { asker, context } = request;
    // While somebody slow was asked, the reactor may have died, or the relay been stopped.
    if (this.#closed || this.#ended.has(asker.reactor)) {
      this.#giveBack(lease);
      return refusal(508, "Insufficient Capacity: the relay is closing");
    }
    if (request.generation !== this.#generation) {
      return this.#askLimits({ ...request, generation: this.#generation }, lease);
    }
    const userRate = limits?.userRate ?? this.#settings.userRate;
    const hasSlot = this.#needsSlot(userRate);
    const { slots } = this.#options;
    const actorSlot = hasSlot ? slots.acquire(context.actor, userRate, this.#nowMs) : undefined;
    if (hasSlot && actorSlot === undefined) {
      this.#giveBack(lease);
      return refusal(508, "Insufficient Capacity: too many users with limits");
    }
    const grant = this.#grantOf(limits, actorSlot);
    this.#admitted.set(keyOf(asker), { asker, context, lease, hasSlot, grant });
    return { admitted: true, ...grant, limits: grant.limits ?? {} };
  }

  #needsSlot(userRate: Rate | undefined): boolean {
    return userRate !== undefined || this.#settings.totalRate !== undefined;
  }

  #grantOf(limits: UserLimits | undefined, actorSlot: number | undefined): Grant {
    const allocation = limits?.allocationRate ?? this.#settings.allocationRate;
    const granted: AllocationLimits = {
      ...(allocation === undefined ? {} : { allocation }),
      ...(actorSlot === undefined ? {} : { actorSlot }),
    };
    const { maxLifetimeSeconds } = limits ?? {};
    return { limits: granted, ...(maxLifetimeSeconds === undefined ? {} : { maxLifetimeSeconds }) };
  }

  /** Asks again what those who live may, until somebody slow has to be asked. */
  #review(keys: Iterator<string>, generation: number): void {
    const changes = new Map<number, LimitChange[]>();
    const { limitsFor } = this.#settings;
    for (let next = keys.next(); next.done !== true; next = keys.next()) {
      const key = next.value;
      const admitted = this.#admitted.get(key);
      if (admitted === undefined) continue;
      try {
        const limits = limitsFor?.(admitted.context);
        if (limits instanceof Promise) {
          void this.#inTime(limits)
            .then((late) => {
              if (generation !== this.#generation) return;
              const lateChanges = new Map<number, LimitChange[]>();
              this.#change(key, late, lateChanges);
              this.#tell(lateChanges);
            })
            .catch((error: unknown) => this.#reviewFailed(error))
            .then(() => {
              if (generation === this.#generation) this.#review(keys, generation);
            });
          break;
        }
        this.#change(key, limits, changes);
      } catch (error) {
        this.#reviewFailed(error);
      }
    }
    this.#tell(changes);
  }

  /** Holds who lives to its new limits, and notes what its reactor must hear. */
  #change(key: string, given: UserLimits | undefined, changes: Map<number, LimitChange[]>): void {
    const limits = checkUserLimits(given);
    const admitted = this.#admitted.get(key);
    if (admitted === undefined) return;
    this.#countIn(key, admitted, limits);
    const { slots } = this.#options;
    const { actor } = admitted.context;
    const userRate = limits?.userRate ?? this.#settings.userRate;
    let actorSlot: number | undefined;
    if (admitted.hasSlot) {
      actorSlot = slots.configure(actor, userRate, this.#nowMs);
    } else if (this.#needsSlot(userRate)) {
      actorSlot = slots.acquire(actor, userRate, this.#nowMs);
      if (actorSlot === undefined) throw new Error("Too many users with limits");
      admitted.hasSlot = true;
    }
    const grant = this.#grantOf(limits, actorSlot);
    if (isDeepStrictEqual(grant, admitted.grant)) return;
    admitted.grant = grant;
    const { reactor, questionId } = admitted.asker;
    const told = changes.get(reactor) ?? [];
    changes.set(reactor, told);
    told.push({ questionId, ...grant });
  }

  /** Who lives since before there was a quota counts against it, also beyond it. */
  #countIn(key: string, admitted: Admitted, limits: UserLimits | undefined): void {
    if (admitted.lease !== undefined) return;
    const { actor, client } = admitted.context;
    const quotas = quotasFor(this.#settings.quotas ?? {}, { actor, client, user: limits?.allocations });
    if (quotas.length === 0) return;
    const { store, relayId } = this.#options;
    const lease = `${relayId}/${key}`;
    admitted.lease = lease;
    const settle = (): void => {
      // It may have ended while a slow store counted it.
      if (this.#admitted.get(key) === admitted) void store.commit(lease);
      else this.#giveBack(lease);
    };
    const fail = (error: unknown): void => {
      // The next settings try again.
      admitted.lease = undefined;
      this.#log.error({ err: error }, "An allocation can't be counted against quotas");
    };
    try {
      const reserved = store.reserve({ lease, quotas: quotas.map((quota) => ({ ...quota, limit: UNLIMITED })) });
      if (reserved instanceof Promise) void reserved.then(settle, fail);
      else settle();
    } catch (error) {
      fail(error);
    }
  }

  #tell(changes: ReadonlyMap<number, readonly LimitChange[]>): void {
    for (const [reactor, told] of changes) this.#options.changeLimits(reactor, told);
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.#options.clock.schedule(LIMITS_TIMEOUT_MS, () =>
        reject(new Error(`limitsFor has not answered within ${LIMITS_TIMEOUT_MS / 1000} s`)),
      );
      answer.then(resolve, reject).finally(cancel);
    });
  }

  get #nowMs(): number {
    return this.#options.clock.now().monotonicMs;
  }

  #reviewFailed(error: unknown): void {
    this.#log.error({ err: error }, "limitsFor failed: an allocation keeps the limits that it had");
  }

  #giveBack(lease: string | undefined): void {
    if (lease !== undefined) void this.#options.store.release(lease);
  }

  #release(key: string): void {
    const admitted = this.#admitted.get(key);
    if (admitted === undefined) return;
    this.#admitted.delete(key);
    if (admitted.hasSlot) this.#options.slots.release(admitted.context.actor);
    this.#giveBack(admitted.lease);
  }

  #storeFailed(
    error: unknown,
    request: Request,
    limits: UserLimits | undefined,
  ): AdmissionDecision | Promise<AdmissionDecision> {
    const admit = this.#options.whenStoreAway === "admit";
    this.#log.error({ err: error, admit }, "Quotas can't be checked");
    return admit
      ? this.#grant(request, limits, undefined)
      : refusal(508, "Insufficient Capacity: quotas can't be checked");
  }
}

function refusal(code: 486 | 508, reason: string): AdmissionDecision {
  return { admitted: false, code, reason };
}

function keyOf({ reactor, questionId }: Asker): string {
  return `${reactor}/${questionId}`;
}
