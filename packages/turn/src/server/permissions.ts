import { AddressRegister, getAttribute, getAttributes, channelNumber, xorPeerAddress } from "@turnpike/stun";
import type { IpAddress, TransportAddress } from "@turnpike/stun";
import { Channel, Permission, type Allocation } from "./allocation.ts";
import type { Now } from "./contract.ts";
import { PERMISSION_LIFETIME_MS, type Core, type IncomingRequest } from "./core.ts";
import { outputBound } from "./channel-outputs.ts";
import { embeddedIpv4, isLoopback } from "./peer-policy.ts";
import { keepAddress } from "./registry.ts";
import { failure, success, type Answering } from "./reply.ts";

/** Which ports of a peer address may be reached, if any. */
export type Reach = "all" | "onlyLiveRelayed" | "none";

/** RFC 8656 §10.2: installs or refreshes a permission for each XOR-PEER-ADDRESS, or for none of them. */
export function createPermission(core: Core, allocation: Allocation, request: IncomingRequest, now: Now): Answering {
  const decoded = getAttributes(request.message, xorPeerAddress);
  if (decoded.length === 0) return failure(400, "Bad Request: XOR-PEER-ADDRESS is missing");
  const peers: TransportAddress[] = [];
  for (const result of decoded) {
    if (!result.ok) return failure(400, "Bad Request: XOR-PEER-ADDRESS is malformed");
    peers.push(result.value);
  }
  if (peers.some((peer) => allocation.relayOf(peer.family) === undefined)) return familyMismatch();
  const reaches = peers.map((peer) => peerReach(core, peer));
  if (reaches.includes("none")) return forbidden();
  const fresh = peers.filter((peer) => core.registry.findPermission(allocation, peer) === undefined);
  if (allocation.permissions.size + fresh.length > core.options.maxPermissionsPerAllocation) {
    return failure(508, "Insufficient Capacity: too many permissions");
  }
  const installed = new Set<Permission>();
  for (const [index, peer] of peers.entries()) {
    const known = core.registry.findPermission(allocation, peer);
    // A peer that is named again costs nothing: neither an event nor a look at its channels.
    if (known === undefined || !installed.has(known)) {
      installed.add(installPermission(core, allocation, peer, reaches[index] ?? "none", now));
    }
  }
  relink(core, allocation, installed);
  return success();
}

/** RFC 8656 §12.2: binds a channel to a peer, or refreshes the binding, and the permission with it. */
export function bindChannel(core: Core, allocation: Allocation, request: IncomingRequest, now: Now): Answering {
  if (allocation.transport === "tcp") return failure(400, "Bad Request: a TCP allocation has no channels");
  const number = getAttribute(request.message, channelNumber);
  const decoded = getAttribute(request.message, xorPeerAddress);
  if (!number?.ok || !decoded?.ok) {
    return failure(400, "Bad Request: CHANNEL-NUMBER and XOR-PEER-ADDRESS are needed");
  }
  const peer = decoded.value;
  const last = core.options.strictChannels === true ? 0x4fff : 0x7fff;
  if (number.value < 0x4000 || number.value > last) return failure(400, "Bad Request: channel number out of range");

  // A number or a peer that has cooled down too little is still bound to its old counterpart (§12).
  const byNumber = core.registry.findChannel(allocation, number.value);
  const byPeer = core.registry.findChannelOfPeer(allocation, peer);
  if (byNumber !== byPeer) return failure(400, "Bad Request: channel or peer is bound already");

  const relay = allocation.relayOf(peer.family);
  if (relay === undefined) return familyMismatch();
  const reach = peer.port === 0 ? "none" : peerReach(core, peer);
  if (reach === "none") return forbidden();
  const newPermission = core.registry.findPermission(allocation, peer) === undefined;
  if (
    (byNumber === undefined && allocation.channels.size >= core.options.maxChannelsPerAllocation) ||
    (newPermission && allocation.permissions.size >= core.options.maxPermissionsPerAllocation)
  ) {
    return failure(508, "Insufficient Capacity: too many channels");
  }

  const permission = installPermission(core, allocation, peer, reach, now);
  relink(core, allocation, new Set([permission]));
  const expiresAtMs = now.monotonicMs + core.options.channelLifetimeSeconds * 1000;
  if (byNumber === undefined) {
    const translated = new AddressRegister();
    const elsewhere = core.options.hairpin.toLocal(peer, translated);
    const kept = keepAddress(peer);
    const destination = elsewhere ? keepAddress(translated) : kept;
    const channel = new Channel({ number: number.value, peer: kept, destination, relay, permission });
    channel.expiresAtMs = expiresAtMs;
    core.registry.addChannel(channel);
    announce(core, channel, "channelCreated", now);
  } else {
    const isNew = !byNumber.bound;
    byNumber.bound = true;
    byNumber.bindTo(permission);
    byNumber.expiresAtMs = expiresAtMs;
    core.registry.timers.set(byNumber, expiresAtMs);
    announce(core, byNumber, isNew ? "channelCreated" : "channelRefreshed", now);
  }
  return success();
}

function installPermission(core: Core, allocation: Allocation, peer: IpAddress, reach: Reach, now: Now): Permission {
  const expiresAtMs = now.monotonicMs + PERMISSION_LIFETIME_MS;
  const existing = core.registry.findPermission(allocation, peer);
  const { family, w0, w1, w2, w3 } = peer;
  const permission = existing ?? new Permission(allocation, { family, w0, w1, w2, w3 }, reach === "onlyLiveRelayed");
  permission.expiresAtMs = expiresAtMs;
  if (existing === undefined) core.registry.addPermission(permission);
  else core.registry.timers.set(permission, expiresAtMs);
  const type = existing === undefined ? "permissionCreated" : "permissionRefreshed";
  if (core.wants(type)) {
    core.event({
      type,
      context: core.context(allocation, now),
      peer: { ...permission.peer, port: 0 },
    });
  }
  return permission;
}

/** Gives the channels of permitted peers their permissions (again), in one pass for all of a request. */
function relink(core: Core, allocation: Allocation, installed: ReadonlySet<Permission>): void {
  if (allocation.channels.size === 0) return;
  for (const channel of allocation.channels) {
    if (!channel.bound) continue;
    const { permission: last, peer } = channel;
    const permission = last.slot < 0 ? core.registry.findPermission(allocation, peer) : last;
    if (permission === undefined || !installed.has(permission)) continue;
    channel.bindTo(permission);
    outputBound(core, channel);
  }
}

/**
 * What the operator allows wins; then the relay's own addresses are open to live relayed transport addresses only
 * (but loopback isn't); then the policy decides.
 */
export function peerReach(core: Core, peer: IpAddress): Reach {
  const decision = core.options.peerPolicy.decide(peer);
  if (decision === "allowed") return "all";
  if (decision === "denied") return "none";
  const embedded = embeddedIpv4(peer);
  if (embedded !== undefined && core.options.hairpin.isOwn(embedded)) return "none";
  if (core.options.hairpin.isOwn(peer)) return isLoopback(peer) ? "none" : "onlyLiveRelayed";
  return decision === "global" ? "all" : "none";
}

function announce(core: Core, channel: Channel, type: "channelCreated" | "channelRefreshed", now: Now): void {
  outputBound(core, channel);
  if (!core.wants(type)) return;
  core.event({
    type,
    context: core.context(channel.allocation, now),
    channel: channel.number,
    peer: channel.peer,
    relayed: channel.relay.relayed,
  });
}

function familyMismatch(): Answering {
  return failure(443, "Peer Address Family Mismatch");
}

function forbidden(): Answering {
  return failure(403, "Forbidden");
}
