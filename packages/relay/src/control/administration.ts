import { randomInt, randomUUID } from "node:crypto";
import { OperationContext, printable } from "@turnpike/authn/core";
import type { BanSubject, PenaltySettings } from "@turnpike/authn/penalties";
import { normalizeUser } from "@turnpike/authn/turn";
import {
  type AllocationDescription,
  checkEngineLimits,
  createPeerPolicy,
  type DeletionReason,
  type EngineLimits,
} from "@turnpike/turn";
import { AdmissionControl, type AdmissionSettings } from "../admission/admission-control.ts";
import { OpenAdmission } from "../admission/open-admission.ts";
import { MemoryAdmissionStore } from "../admission/memory-store.ts";
import { GuessDefence, type GuessCounters, type StandingBan } from "../defence/guess-defence.ts";
import { type EventCounters, EventHub } from "../events/event-hub.ts";
import type { EventStream, EventStreamOptions } from "../events/event-stream.ts";
import type { BanEvent } from "../events/relay-event.ts";
import { ActorRates, SETTLE_INTERVAL_MS } from "../limits/actor-rates.ts";
import { ActorSlots } from "../limits/actor-slots.ts";
import { commonClockOffsetMs } from "../limits/common-clock.ts";
import { SourceRates, type SourceRateSettings } from "../limits/source-rates.ts";
import { type Logger, silentLogger } from "../logger.ts";
import type { Clock } from "../reactor/clock.ts";
import type { PeerRules, RelayOptions } from "../relay-options.ts";
import type { AllocationSelector } from "../allocation-selector.ts";
import type { ReactorGroup } from "./reactor-group.ts";

/** What a relay lets its users do. All of it can change while the relay runs. */
export interface RelayLimits extends AdmissionSettings, EngineLimits {
  /** Of each client address prefix. */
  readonly perSource?: SourceRateSettings;
  /** What wrong credentials cost; false: nothing. Default: what the relay was started with. */
  readonly penalties?: PenaltySettings | false;
}

/** How quotas, limits and events fared since the start. */
export interface AdministrationStats {
  readonly events: EventCounters;
  /** Wrong credentials and what they cost, and bans. */
  readonly penalties: GuessCounters;
  /** What was held back by limits of sources. */
  readonly heldBack: { readonly requests: number; readonly challenges: number; readonly allocations: number };
}

/** Whom to shut out, for how long and why. */
export interface BanRequest {
  readonly subject: BanSubject;
  readonly seconds: number;
  readonly reason: string;
  /** Whether allocations of theirs end as well. Default true. */
  readonly end?: boolean;
}

/** What {@link Administration} is made with. */
export interface AdministrationOptions {
  readonly options: Pick<
    RelayOptions,
    "events" | "onEvent" | "eventLog" | "limits" | "admissionStore" | "whenStoreAway" | "penalties" | "engine"
  >;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Cryptographically strong random numbers from 0 to 2^32 − 1. */
  readonly randomWord: () => number;
  /** Unique in the fleet and in time. */
  readonly relayId: string;
}

/** The administration of a relay in the real world. @throws TypeError or RangeError for settings that make no sense. */
export function createAdministration(options: Omit<AdministrationOptions, "randomWord" | "relayId">): Administration {
  return new Administration({ ...options, randomWord: () => randomInt(2 ** 32), relayId: randomUUID() });
}

/**
 * What stands over the reactors of a relay: who hears of events, who may allocate and how much, who is shut out, and
 * what administrators can do. On the main thread.
 */
export class Administration {
  readonly hub: EventHub;
  readonly admission: AdmissionControl;
  readonly openAdmission: OpenAdmission = new OpenAdmission();
  readonly defence: GuessDefence;
  readonly sourceRates: SourceRates;
  readonly actorRates: ActorRates;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #engine: EngineLimits;
  readonly #penalties: PenaltySettings | false;
  #limits: RelayLimits = {};
  #reactors: ReactorGroup | undefined;
  #cancelSettle: (() => void) | undefined;
  #cancelFollow: (() => void) | undefined;

  /** @throws TypeError or RangeError for settings that make no sense. */
  constructor({ options, clock, logger = silentLogger, randomWord, relayId }: AdministrationOptions) {
    this.#clock = clock;
    this.#logger = logger;
    this.#engine = options.engine ?? {};
    this.#penalties = options.penalties ?? {};
    const { maxPendingAuthentications: maxPending } = options.engine ?? {};
    const monotonicMs = (): number => clock.now().monotonicMs;
    const clockOffsetMs = commonClockOffsetMs(monotonicMs());
    this.hub = new EventHub({
      logger,
      monotonicMs,
      ...(options.events && { handlers: options.events }),
      ...(options.onEvent && { onEvent: options.onEvent }),
      ...(options.eventLog && { log: options.eventLog }),
    });
    this.sourceRates = new SourceRates({ clockOffsetMs, seed: randomWord() | 0 });
    this.actorRates = new ActorRates({ clockOffsetMs });
    this.defence = new GuessDefence({
      clock,
      random: () => randomWord() / 2 ** 32,
      settings: this.#penalties,
      ...(maxPending !== undefined && { maxPending }),
      onBan: (event) => this.#tellBan(event),
    });
    this.admission = new AdmissionControl({
      relayId,
      store: options.admissionStore ?? new MemoryAdmissionStore(),
      whenStoreAway: options.whenStoreAway ?? "refuse",
      sourceRates: this.sourceRates,
      slots: new ActorSlots(this.actorRates),
      open: this.openAdmission,
      askWhoLives: () => this.#reactors?.askWhoLives?.(),
      changeLimits: (reactor, changes) => this.#reactors?.changeAllocationLimits(reactor, changes),
      clock,
      logger,
    });
    this.configure(options.limits ?? {});
    this.#settleLater();
  }

  /** Names the reactors that are administered. */
  serve(reactors: ReactorGroup): void {
    this.#reactors = reactors;
    if (reactors.tellBan !== undefined) this.#followChannels();
    this.#tellLimits();
  }

  /** Takes limits over, in place of those that were. @throws TypeError or RangeError that names what makes no sense. */
  configure(limits: RelayLimits): void {
    try {
      this.#apply(limits);
    } catch (error) {
      this.#apply(this.#limits);
      throw error;
    }
    this.#limits = limits;
    this.#tellLimits();
  }

  /** Takes rules over, in place of those that were. @throws TypeError naming the range that can't be read. */
  setPeers(rules: PeerRules): void {
    createPeerPolicy(rules);
    this.#reactors?.setPeers(rules);
  }

  events(options?: EventStreamOptions): EventStream {
    return this.hub.stream(options);
  }

  async allocations(user?: string): Promise<readonly AllocationDescription[]> {
    const all = (await this.#reactors?.allocations()) ?? [];
    if (user === undefined) return all;
    const wanted = normalizeUser(user);
    return all.filter(({ context }) => normalizeUser(context.actor) === wanted);
  }

  async end(
    ctx: OperationContext,
    selector: AllocationSelector,
    reason: DeletionReason = "administrator",
  ): Promise<number> {
    OperationContext.assert(ctx);
    const ended = (await this.#reactors?.end(selector, reason)) ?? 0;
    this.#logger.info({ requestId: ctx.requestId, actor: ctx.actor?.id, by: selector.by, reason, ended }, "Ended");
    return ended;
  }

  /** As {@link end}, on the program's own behalf. */
  async endAllocations(selector: AllocationSelector, reason: DeletionReason): Promise<number> {
    return (await this.#reactors?.end(selector, reason)) ?? 0;
  }

  bans(): readonly StandingBan[] {
    return this.defence.bans();
  }

  async ban(ctx: OperationContext, { subject, seconds, reason, end = true }: BanRequest): Promise<number> {
    OperationContext.assert(ctx);
    this.defence.ban({ subject: asKnown(subject), seconds, reason });
    if (!end) return 0;
    return this.end(
      ctx,
      subject.kind === "user" ? { by: "actor", value: subject.user } : { by: "prefix", value: subject.prefix },
    );
  }

  unban(ctx: OperationContext, subject: BanSubject): boolean {
    OperationContext.assert(ctx);
    return this.defence.unban(asKnown(subject));
  }

  /** `elsewhere`: what the penalties did on other threads. */
  stats(elsewhere: Pick<GuessCounters, "discarded" | "waiting" | "sources"> = NOWHERE): AdministrationStats {
    const penalties = this.defence.counters;
    return {
      events: this.hub.counters,
      penalties: {
        ...penalties,
        discarded: penalties.discarded + elsewhere.discarded,
        waiting: penalties.waiting + elsewhere.waiting,
        sources: Math.max(penalties.sources, elsewhere.sources),
      },
      heldBack: this.sourceRates.heldBack,
    };
  }

  /** Ends streams, gives quotas back. Called when the last reactor has stopped. */
  async close(): Promise<void> {
    this.#cancelSettle?.();
    this.#cancelFollow?.();
    this.defence.close();
    await this.admission.close();
    this.hub.close();
  }

  #apply(limits: RelayLimits): void {
    const nowMs = this.#clock.now().monotonicMs;
    checkEngineLimits(engineLimits(this.#engine, limits));
    this.defence.configure(limits.penalties ?? this.#penalties);
    this.sourceRates.configure(limits.perSource ?? {}, nowMs);
    this.actorRates.configureTotal(limits.totalRate, nowMs);
    this.admission.configure(limits);
  }

  #tellLimits(): void {
    this.#reactors?.setLimits(engineLimits(this.#engine, this.#limits));
    this.#reactors?.setPenalties?.(this.#limits.penalties ?? this.#penalties);
  }

  #tellBan(event: BanEvent): void {
    const { subject } = event;
    const whom = subject.kind === "user" ? { user: printable(subject.user) } : { prefix: subject.prefix };
    if (event.type === "banStarted") {
      const who = subject.kind === "user" ? "A user" : "An address";
      this.#logger.warn({ ...whom, reason: printable(event.reason) }, `${who} was banned`);
    } else {
      this.#logger.info(whom, "A ban was lifted");
    }
    this.#reactors?.tellBan?.(event);
    this.hub.publish(event);
  }

  /** Other threads can't see who subscribes to a diagnostics channel: they are told, a moment later. */
  #followChannels(): void {
    this.hub.followChannels();
    this.#cancelFollow = this.#clock.schedule(FOLLOW_CHANNELS_MS, () => this.#followChannels());
  }

  #settleLater(): void {
    this.#cancelSettle = this.#clock.schedule(SETTLE_INTERVAL_MS, () => {
      const { monotonicMs } = this.#clock.now();
      this.actorRates.settle(monotonicMs);
      this.sourceRates.settle(monotonicMs);
      this.#settleLater();
    });
  }
}

const FOLLOW_CHANNELS_MS = 250;
const NOWHERE = { discarded: 0, waiting: 0, sources: 0 } as const;

/** Users are known by one spelling, whatever an administrator types. */
function asKnown(subject: BanSubject): BanSubject {
  return subject.kind === "user" ? { kind: "user", user: normalizeUser(subject.user) } : subject;
}

function engineLimits(engine: EngineLimits, limits: RelayLimits): EngineLimits {
  const pick = (name: keyof EngineLimits): EngineLimits => {
    const value = limits[name] ?? engine[name] ?? ENGINE_DEFAULTS[name];
    return { [name]: value };
  };
  return {
    ...pick("maxLifetimeSeconds"),
    ...pick("maxPermissionsPerAllocation"),
    ...pick("maxChannelsPerAllocation"),
    ...pick("maxConnectionsPerAllocation"),
    ...pick("maxPendingAuthentications"),
    ...pick("maxPendingAuthenticationsPerPrefix"),
    ...pick("unauthenticatedBytesPerSecond"),
  };
}

/** As the engine has them: a limit that is taken back must not leave the last one in force. */
const ENGINE_DEFAULTS: Required<EngineLimits> = {
  maxLifetimeSeconds: 3600,
  maxPermissionsPerAllocation: 1000,
  maxChannelsPerAllocation: 1000,
  maxConnectionsPerAllocation: 100,
  maxPendingAuthentications: 1000,
  maxPendingAuthenticationsPerPrefix: 50,
  unauthenticatedBytesPerSecond: 65_536,
};
