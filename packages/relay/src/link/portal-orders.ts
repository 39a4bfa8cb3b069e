import type { LinkRevocation, PortalMessage, QuotaPayload } from "@turnpike/link";
import type { DeletionReason } from "@turnpike/turn";
import type { AllocationChoice } from "../relay.ts";

/** What {@link PortalOrders} acts on. */
export interface PortalOrdersOptions {
  /** Refuses what is revoked: `RevocationList.revoke` fits. */
  readonly revoke: (revocation: LinkRevocation) => void;
  /** Called when the portal has said how many allocations users may have. */
  readonly setQuota?: (quota: QuotaPayload) => void;
  /** Called once, when the portal wants no new allocations here. */
  readonly onDrain?: () => void;
}

/** A relay, as far as its portal may give it orders. */
interface OrderedRelay {
  endAllocations(choice: AllocationChoice, reason: DeletionReason): number;
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

  /** The relay that serves. */
  setRelay(relay: OrderedRelay): void {
    this.#relay = relay;
    if (this.#isDraining) void relay.drain();
  }

  /** To be called with each message of the portal. */
  handle(message: PortalMessage): void {
    switch (message.event) {
      case "revoke":
        for (const revocation of message.payload.revocations) this.#revoke(revocation);
        return;
      case "disconnect_user":
        this.#relay?.endAllocations({ by: "actor", actor: message.payload.actor }, "administrator");
        return;
      case "end_allocation":
        this.#relay?.endAllocations({ by: "id", id: message.payload.allocation }, "administrator");
        return;
      case "drain":
        if (this.#isDraining) return;
        this.#isDraining = true;
        void this.#relay?.drain();
        this.#options.onDrain?.();
        return;
      case "quota":
        this.#options.setQuota?.(message.payload);
        return;
      case "fleet_secrets":
        this.#fleetSecrets = message.payload.secrets;
    }
  }

  #revoke(revocation: LinkRevocation): void {
    this.#options.revoke(revocation);
    const { by, value } = revocation;
    // The credential id of time-limited credentials is their user name.
    if (by === "actor") this.#relay?.endAllocations({ by, actor: value }, "credentialRevoked");
    else if (by !== "label")
      this.#relay?.endAllocations({ by: "credential", credentialId: value }, "credentialRevoked");
  }
}
