import type { Allocation, Channel } from "./allocation.ts";
import type { Core } from "./core.ts";
import type { Meter } from "./meter.ts";

/** Offers a channel, or its longer life, to a faster path. */
export function outputBound(core: Core, channel: Channel): void {
  const { allocation } = channel;
  if (!mayLeave(allocation)) return;
  core.output({
    kind: "channelBound",
    allocation: allocation.id,
    channel: channel.number,
    listener: allocation.client.listener,
    client: allocation.client.remote,
    socket: channel.relay.socket,
    relayed: channel.relay.relayed,
    peer: channel.destination,
    expiresAtMs: Math.min(channel.expiresAtMs, channel.permission.expiresAtMs),
  });
}

/** Takes a channel back from the faster path. */
export function outputUnbound(core: Core, channel: Channel): void {
  const { allocation, number } = channel;
  if (mayLeave(allocation)) core.output({ kind: "channelUnbound", allocation: allocation.id, channel: number });
}

/** Gives an allocation other meters: its channels come back from the faster path, or may take it again. */
export function changeMeters(core: Core, allocation: Allocation, meters: readonly Meter[] | undefined): void {
  const relaying = [...allocation.channels].filter(({ bound, permission }) => bound && permission.slot >= 0);
  for (const channel of relaying) outputUnbound(core, channel);
  allocation.meters = meters;
  for (const channel of relaying) outputBound(core, channel);
}

/** Each packet tells meters, and the engine where a mobile client is (RFC 8016 §3.2.2): they must see them all. */
function mayLeave({ meters, mobile }: Allocation): boolean {
  return meters === undefined && mobile === undefined;
}
