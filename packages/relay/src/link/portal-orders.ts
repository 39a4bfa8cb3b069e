import type { LinkRevocation, PortalMessage, QuotaPayload } from "@turnpike/link";
import type { DeletionReason } from "@turnpike/turn";
import type { UserLimits } from "../admission/user-limits.ts";
import type { AllocationSelector } from "../allocation-selector.ts";

/** What {@link PortalOrders} acts on. */
export interface PortalOrdersOptions {
  /** Refuses what is revoked, and ends what lives by it: a `RevocationList` whose `onRevoked` ends allocations. */
  readonly revoke: (revocation: LinkRevocation) => void;
  /** Called when the portal has sent other fleet secrets: see {@link PortalOrders.fleetSecrets}. */
  readonly onFleetSecrets?: () => void;
  /** Called once, when the portal wants no new allocations here. */
  readonly onDrain?: () => void;
}

/** A relay, as far as its portal may give it orders. */
interface OrderedRelay {
  endAllocations(selector: AllocationSelector, reason: DeletionReason): Promise<number>;
  drain(): Promise<void>;
}

/**
 * Carries out what a portal wants of its relay. It stands before the relay does: what is revoked before the relay serves
 * is refused from its first packet on.
 */
export class PortalOrders {
  readonly #options: PortalOrdersOptions;
  #relay: OrderedRelay | undefined;
  #isDraining = false;
  #fleetSecrets: readonly string[] = [];
  readonly #quotas = new Map<string, number>();
  #defaultQuota: number | undefined;

  constructor(options: PortalOrdersOptions) {
    this.#options = options;
  }

  /** For the scheme `shared-secret`: what the portal sent last. */
  get fleetSecrets(): readonly string[] {
    return this.#fleetSecrets;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /**
   * What the portal said last of how many allocations a user may have, for a relay's `limits.limitsFor`. What lives
   * stays; whom the portal doesn't limit the relay's own `quotas.user` does.
   */
  readonly limitsFor = ({ actor }: { readonly actor: string }): UserLimits | undefined => {
    const allocations = this.#quotas.get(actor) ?? this.#defaultQuota;
    return allocations === undefined ? undefined : { allocations };
  };

  /** The relay that serves. */
  setRelay(relay: OrderedRelay): void {
    this.#relay = relay;
    if (this.#isDraining) void relay.drain();
  }

  /** To be called with each message of the portal. */
  handle(message: PortalMessage): void {
    switch (message.event) {
      case "revoke":
        for (const revocation of message.payload.revocations) this.#options.revoke(revocation);
        return;
      case "disconnect_user":
        void this.#relay?.endAllocations({ by: "actor", value: message.payload.actor }, "administrator");
        return;
      case "end_allocation":
        void this.#relay?.endAllocations({ by: "id", value: message.payload.allocation }, "administrator");
        return;
      case "drain":
        if (this.#isDraining) return;
        this.#isDraining = true;
        void this.#relay?.drain();
        this.#options.onDrain?.();
        return;
      case "quota":
        this.#takeQuotas(message.payload);
        return;
      case "fleet_secrets":
        this.#fleetSecrets = message.payload.secrets;
        this.#options.onFleetSecrets?.();
    }
  }

  #takeQuotas({ users, partial = false, default: ofOthers }: QuotaPayload): void {
    if (!partial) {
      this.#quotas.clear();
      this.#defaultQuota = ofOthers;
    }
    for (const [actor, allocations] of Object.entries(users)) {
      if (allocations === null) this.#quotas.delete(actor);
      else this.#quotas.set(actor, allocations);
    }
  }
}
