import { addressPrefix, type AddressPrefix } from "@turnpike/authn";
import type { AllocationDescription, DeletionReason, EndableAllocation, EngineLimits } from "@turnpike/turn";
import type { BanEvent } from "../events/relay-event.ts";

/** Which allocations an administrator means. Survives a structured clone. */
export type AllocationChoice =
  | { readonly by: "id"; readonly id: string }
  | { readonly by: "actor"; readonly actor: string }
  | { readonly by: "credential"; readonly credentialId: string }
  | { readonly by: "prefix"; readonly prefix: AddressPrefix };

/** The reactors of a relay, as administration needs them: on this thread, or on others. */
export interface ReactorGroup {
  allocations(): readonly AllocationDescription[] | Promise<readonly AllocationDescription[]>;
  /** Ends what is chosen; the number of it. */
  end(choice: AllocationChoice, reason: DeletionReason): number | Promise<number>;
  setLimits(limits: EngineLimits): void;
  /** For reactors on other threads, which have lists of bans of their own. */
  tellBan?(event: BanEvent): void;
}

/** Whether an allocation is one of those that are meant. */
export function isChosen(choice: AllocationChoice, allocation: EndableAllocation): boolean {
  switch (choice.by) {
    case "id":
      return allocation.id === choice.id;
    case "actor":
      return allocation.actor === choice.actor;
    case "credential":
      return allocation.credentialId === choice.credentialId;
    case "prefix":
      return addressPrefix(allocation.client) === choice.prefix;
  }
}
