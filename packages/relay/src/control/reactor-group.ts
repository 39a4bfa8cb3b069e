import type { PenaltySettings } from "@turnpike/authn/penalties";
import type { AllocationDescription, DeletionReason, EngineLimits, LimitChange } from "@turnpike/turn";
import type { AllocationSelector } from "../allocation-selector.ts";
import type { BanEvent } from "../events/relay-event.ts";
import type { PeerRules } from "../relay-options.ts";

/** The reactors of a relay, as administration needs them: on this thread, or on others. */
export interface ReactorGroup {
  allocations(): readonly AllocationDescription[] | Promise<readonly AllocationDescription[]>;
  /** Ends what is meant; the number of it. */
  end(selector: AllocationSelector, reason: DeletionReason): number | Promise<number>;
  setLimits(limits: EngineLimits): void;
  setPeers(rules: PeerRules): void;
  /** Holds allocations of one reactor to other limits. */
  changeAllocationLimits(reactor: number, changes: readonly LimitChange[]): void;
  /** For reactors on other threads, which admit by themselves while `OpenAdmission` is open: who is there must be told. */
  askWhoLives?(): void;
  /** For reactors on other threads, which have penalties of their own. */
  setPenalties?(settings: PenaltySettings | false): void;
  /** For reactors on other threads, which have lists of bans of their own. */
  tellBan?(event: BanEvent): void;
}
