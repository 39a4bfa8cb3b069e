import type { Allocation, Channel, Permission, RelayLeg } from "./allocation.ts";
import { outputUnbound } from "./channel-outputs.ts";
import { CHANNEL_COOLDOWN_MS, type Core } from "./core.ts";
import type { Now } from "./contract.ts";
import type { DeletionReason, Totals } from "./events.ts";

/** Ends an allocation with all that belongs to it: channels, then permissions, then the allocation. */
export function deleteAllocation(core: Core, allocation: Allocation, reason: DeletionReason, now: Now): void {
  for (const hook of core.beforeDelete) hook(allocation, now, reason);
  for (const channel of allocation.channels) {
    if (channel.bound) unbind(core, channel, now);
    core.registry.removeChannel(channel);
  }
  for (const permission of allocation.permissions) deletePermission(core, permission, now);
  core.registry.removeAllocation(allocation);
  for (const relay of allocation.relays) core.output({ kind: "closeRelaySocket", socket: relay.socket });
  if (allocation.admissionQuestionId !== undefined) {
    core.output({ kind: "releaseAdmission", questionId: allocation.admissionQuestionId });
  }
  if (core.wants("allocationDeleted")) {
    core.event({
      type: "allocationDeleted",
      context: core.context(allocation, now),
      reason,
      totals: totalsOf(allocation, now),
    });
  }
}

/**
 * Takes relay sockets from an allocation, with the permissions and channels of their families; the last ones take the
 * allocation along (RFC 8656 §8.1).
 */
export function removeRelays(
  core: Core,
  allocation: Allocation,
  relays: readonly RelayLeg[],
  reason: DeletionReason,
  now: Now,
): void {
  const left = allocation.relays.filter((relay) => !relays.includes(relay));
  if (left.length === 0) {
    deleteAllocation(core, allocation, reason, now);
    return;
  }
  const families = relays.map((relay) => relay.local.family);
  for (const channel of allocation.channels) {
    if (!families.includes(channel.peer.family)) continue;
    if (channel.bound) unbind(core, channel, now);
    core.registry.removeChannel(channel);
  }
  for (const permission of allocation.permissions) {
    if (families.includes(permission.peer.family)) deletePermission(core, permission, now);
  }
  core.registry.removeRelays(allocation, left);
  for (const relay of relays) core.output({ kind: "closeRelaySocket", socket: relay.socket });
}

/** Traffic of an allocation until now. */
export function totalsOf(allocation: Allocation, now: Now): Totals {
  return {
    packetsToPeers: allocation.packetsToPeers,
    bytesToPeers: allocation.bytesToPeers,
    packetsFromPeers: allocation.packetsFromPeers,
    bytesFromPeers: allocation.bytesFromPeers,
    drops: { ...allocation.drops },
    peers: allocation.peersSeen,
    durationMs: now.monotonicMs - allocation.createdAtMs,
  };
}

/** A permission ran out. Channels to its peer stay bound, but carry nothing until it is installed again. */
export function expirePermission(core: Core, permission: Permission, now: Now): void {
  for (const channel of permission.channels ?? []) {
    if (channel.bound) outputUnbound(core, channel);
  }
  deletePermission(core, permission, now);
}

/** A channel's timer fired: its binding ends and number and peer cool down, or the cooling is over (RFC 8656 §12). */
export function expireChannel(core: Core, channel: Channel, now: Now): void {
  if (!channel.bound) {
    core.registry.removeChannel(channel);
    return;
  }
  unbind(core, channel, now);
  channel.bound = false;
  channel.expiresAtMs = now.monotonicMs + CHANNEL_COOLDOWN_MS;
  core.registry.timers.set(channel, channel.expiresAtMs);
}

function unbind(core: Core, channel: Channel, now: Now): void {
  outputUnbound(core, channel);
  if (!core.wants("channelDeleted")) return;
  core.event({
    type: "channelDeleted",
    context: core.context(channel.allocation, now),
    channel: channel.number,
    peer: channel.peer,
    relayed: channel.relay.relayed,
  });
}

function deletePermission(core: Core, permission: Permission, now: Now): void {
  core.registry.removePermission(permission);
  if (!core.wants("permissionDeleted")) return;
  core.event({
    type: "permissionDeleted",
    context: core.context(permission.allocation, now),
    peer: { ...permission.peer, port: 0 },
  });
}
