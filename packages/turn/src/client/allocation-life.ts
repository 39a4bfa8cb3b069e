import {
  attribute,
  getAttribute,
  lifetime,
  mobilityTicket,
  type EncodedAttribute,
  type StunMessage,
} from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import { allocateAttributes, readAllocated } from "./allocate-request.ts";
import type { AllocateDemands } from "./contract.ts";
import type { ClientCore, Upkeep } from "./core.ts";
import type { Outcome } from "./exchanges.ts";
import type { ClientFailure } from "./failure.ts";

/** An allocation from Allocate to its end: refreshed in time, moved, closed, or lost (RFC 8656 §7, §8; RFC 8016). */
export class AllocationLife implements Upkeep {
  readonly kind = "upkeep";
  readonly #core: ClientCore;
  readonly #onEnd: () => void;
  readonly #keepalive: Upkeep = { kind: "upkeep", handleTimer: (now) => this.#keepAlive(now) };
  #state: "none" | "alive" | "over" = "none";
  #expiresAtMs = 0;
  #refreshing = false;
  #lastFailure: ClientFailure | undefined;
  #ticket: Uint8Array | undefined;
  #wantedSeconds: number | undefined;

  constructor(core: ClientCore, onEnd: () => void) {
    this.#core = core;
    this.#onEnd = onEnd;
  }

  get isAlive(): boolean {
    return this.#state === "alive";
  }

  /** True as long as there was no allocation. */
  get isNew(): boolean {
    return this.#state === "none";
  }

  get isMobile(): boolean {
    return this.#ticket !== undefined;
  }

  /** `redirect` is asked what becomes of a 300: true if another server is asked. */
  allocate(
    operation: number,
    demands: AllocateDemands,
    now: Now,
    redirect: (message: StunMessage, now: Now) => boolean,
  ): void {
    const { reliable } = this.#core.options;
    const attributes = allocateAttributes(demands, reliable);
    const settle = (outcome: Outcome, at: Now): void => {
      if (outcome.ok) {
        this.#allocated(operation, demands, outcome, at);
      } else if (outcome.failure.code === "refused" && outcome.failure.error.code === 300) {
        const goesOn = outcome.message !== undefined && redirect(outcome.message, at);
        if (!goesOn) this.#core.fail(operation, { code: "redirectLoop" });
      } else {
        this.#core.fail(operation, outcome.failure);
      }
    };
    this.#core.ask(operation, { method: "allocate", attributes, authenticated: true }, settle, now);
  }

  refresh(operation: number, lifetimeSeconds: number | undefined, now: Now): void {
    if (lifetimeSeconds === 0) throw new RangeError("Cannot refresh for 0 seconds: use close()");
    this.#wantedSeconds = lifetimeSeconds ?? this.#wantedSeconds;
    const settle = (outcome: Outcome): void => {
      const result = this.#refreshed(outcome);
      if (typeof result === "number") this.#core.complete(operation, { method: "refresh", lifetimeSeconds: result });
      else this.#core.fail(operation, result);
    };
    this.#core.ask(
      operation,
      { method: "refresh", attributes: this.#refreshAttributes(), authenticated: true },
      settle,
      now,
    );
  }

  /** RFC 8016 §3.2.1. Everything else waits until the server knows the new five-tuple. */
  move(operation: number, now: Now): void {
    const ticket = this.#ticket;
    if (ticket === undefined) {
      this.#core.fail(operation, { code: "notMobile" });
      return;
    }
    const settle = (outcome: Outcome, at: Now): void => {
      if (outcome.ok) {
        const next = getAttribute(outcome.message, mobilityTicket);
        if (next?.ok && next.value.length > 0) this.#ticket = next.value.slice();
      }
      const result = this.#refreshed(outcome);
      this.#core.exchanges.release(at);
      if (typeof result === "number") this.#core.complete(operation, { method: "move", lifetimeSeconds: result });
      else this.#core.fail(operation, result);
    };
    const attributes = [...this.#refreshAttributes(), attribute(mobilityTicket, ticket)];
    this.#core.askAlone(operation, { method: "refresh", attributes, authenticated: true }, settle, now);
  }

  /** RFC 8656 §8.1: a Refresh with a lifetime of 0. From here on there is no allocation. */
  close(operation: number, now: Now): void {
    this.#end({ code: "noAllocation" }, operation);
    const settle = (outcome: Outcome): void => {
      const gone = !outcome.ok && outcome.failure.code === "refused" && outcome.failure.error.code === 437;
      if (outcome.ok || gone) this.#core.complete(operation, { method: "close" });
      else this.#core.fail(operation, outcome.failure);
    };
    this.#core.ask(
      operation,
      { method: "refresh", attributes: [attribute(lifetime, 0)], authenticated: true },
      settle,
      now,
    );
  }

  /** Nobody waits for the Allocate any more: what may have come of it is ended. */
  giveBack(now: Now): void {
    this.#state = "over";
    if (this.#core.session.sign() === undefined) return;
    const ask = { method: "refresh", attributes: [attribute(lifetime, 0)], authenticated: true } as const;
    this.#core.exchanges.start({ ...ask, settle: () => undefined }, now);
  }

  /** The allocation is gone. */
  lose(failure: ClientFailure): void {
    if (this.#state !== "alive") return;
    this.#end(failure);
    this.#core.output({ kind: "allocationLost", failure });
  }

  handleTimer(now: Now): void {
    if (this.#expiresAtMs <= now.monotonicMs) {
      this.lose(this.#lastFailure ?? { code: "timeout", transmissions: 0 });
      return;
    }
    if (this.#refreshing) return;
    this.#refreshing = true;
    this.#core.timers.set(this, this.#expiresAtMs);
    const settle = (outcome: Outcome, at: Now): void => {
      this.#refreshing = false;
      const result = this.#refreshed(outcome);
      if (typeof result === "number") this.#core.output({ kind: "refreshed", lifetimeSeconds: result });
      else if (this.isAlive) {
        this.#lastFailure = result;
        this.#core.timers.set(this, this.#core.retryAtMs(this.#expiresAtMs, at));
      }
    };
    this.#core.exchanges.start(
      { method: "refresh", attributes: this.#refreshAttributes(), authenticated: true, settle },
      now,
    );
  }

  #allocated(operation: number, demands: AllocateDemands, outcome: Outcome & { readonly ok: true }, now: Now): void {
    const allocated = readAllocated(outcome.message, demands);
    if (typeof allocated === "string") {
      this.#core.fail(operation, { code: "malformedResponse", detail: allocated });
      return;
    }
    const { ticket, ...rest } = allocated;
    this.#ticket = ticket;
    this.#wantedSeconds = demands.lifetimeSeconds;
    this.#state = "alive";
    this.#expect(rest.lifetimeSeconds, outcome.sentAtMs);
    const { keepaliveMs } = this.#core.options;
    if (keepaliveMs > 0) this.#core.timers.set(this.#keepalive, now.monotonicMs + keepaliveMs);
    this.#core.complete(operation, { method: "allocate", allocated: rest });
  }

  /** The lifetime that a Refresh granted, or why there is none. */
  #refreshed(outcome: Outcome): number | ClientFailure {
    if (!outcome.ok) {
      this.#core.isMismatch(outcome.failure);
      return outcome.failure;
    }
    const granted = getAttribute(outcome.message, lifetime);
    if (!granted?.ok || granted.value === 0) {
      return { code: "malformedResponse", detail: "LIFETIME is missing or can't be read" };
    }
    if (this.isAlive) this.#expect(granted.value, outcome.sentAtMs);
    return granted.value;
  }

  #refreshAttributes(): EncodedAttribute[] {
    return this.#wantedSeconds === undefined ? [] : [attribute(lifetime, this.#wantedSeconds)];
  }

  #expect(lifetimeSeconds: number, sentAtMs: number): void {
    this.#lastFailure = undefined;
    this.#expiresAtMs = sentAtMs + lifetimeSeconds * 1000;
    this.#core.timers.set(this, sentAtMs + lifetimeSeconds * 1000 * this.#core.options.refreshFraction);
  }

  #end(failure: ClientFailure, except?: number): void {
    this.#state = "over";
    this.#ticket = undefined;
    this.#core.timers.delete(this);
    this.#core.timers.delete(this.#keepalive);
    this.#onEnd();
    this.#core.dropAll(failure, except);
  }

  #keepAlive(now: Now): void {
    const { keepaliveMs } = this.#core.options;
    const dueAtMs = this.#core.lastSentMs + keepaliveMs;
    if (dueAtMs <= now.monotonicMs) {
      this.#core.sendIndication("binding", now);
      this.#core.timers.set(this.#keepalive, now.monotonicMs + keepaliveMs);
    } else {
      this.#core.timers.set(this.#keepalive, dueAtMs);
    }
  }
}
