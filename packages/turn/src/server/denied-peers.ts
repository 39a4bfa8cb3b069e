import type { Connections } from "./connections.ts";
import type { Now } from "./contract.ts";
import type { Core } from "./core.ts";
import { peerReach } from "./permissions.ts";
import { expireChannel, expirePermission } from "./teardown.ts";

/**
 * Holds what stands to the peer policy as it is: channels, permissions and TCP connections of peers that it denies end,
 * and those of the relay's own addresses reach what new ones would. Looks at all of them.
 */
export function enforcePeerPolicy(core: Core, connections: Connections, now: Now): void {
  for (const allocation of core.registry.allocations()) {
    // Channels outlive their permissions, so both are looked at.
    for (const channel of allocation.channels) {
      if (channel.bound && peerReach(core, channel.peer) === "none") expireChannel(core, channel, now);
    }
    for (const permission of allocation.permissions) {
      const reach = peerReach(core, permission.peer);
      if (reach === "none") expirePermission(core, permission, now);
      else permission.onlyLiveRelayed = reach === "onlyLiveRelayed";
    }
  }
  connections.endUnreachable(now);
}
