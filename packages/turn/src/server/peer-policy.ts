import type { IpAddress } from "@turnpike/stun";

/** Decides which peers an allocation may reach, and be reached by. Pure; asked for each new permission. */
export interface PeerPolicy {
  /** True if packets may go to and come from this address (any port). */
  permits(peer: IpAddress): boolean;
}
