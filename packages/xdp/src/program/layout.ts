import { type Struct, struct } from "../assembler/struct.ts";

/**
 * What names a packet's way: its addresses (IPv4 ones as ::ffff:a.b.c.d), ports and, for ChannelData from a client, the
 * channel number; 0 for what peers send. Ports and channel in network order. No port of the relay both listens and
 * relays, so that the two kinds never meet.
 */
export const routeKey: Struct<"source" | "destination" | "sourcePort" | "destinationPort" | "channel" | "padding"> =
  struct({
    source: 16,
    destination: 16,
    sourcePort: 2,
    destinationPort: 2,
    channel: 2,
    padding: 2,
  });

/** Where the packet goes, and sums that need to be made only once. */
export const route: Struct<
  | "slot"
  | "hop"
  | "flags"
  | "pseudoSum"
  | "difference"
  | "headerSum"
  | "sourcePort"
  | "destinationPort"
  | "channel"
  | "identification"
  | "source"
  | "destination"
> = struct({
  /** Index of the channel's {@link state}. */
  slot: 4,
  /** Index of the {@link hop}. */
  hop: 4,
  flags: 4,
  /** Sum of the packet's own pseudo-header, its length left out. */
  pseudoSum: 4,
  /** What addresses, ports and channel number add to the UDP checksum's sum. */
  difference: 4,
  /** Sum of the new IPv4 header; traffic class, length and identification left out. */
  headerSum: 4,
  /** Of the packet that leaves, in network order; `channel` 0 if it carries none. */
  sourcePort: 2,
  destinationPort: 2,
  channel: 2,
  /** Where IPv4 identifications start: host order. */
  identification: 2,
  source: 16,
  destination: 16,
});

export const ROUTE_FLAG = {
  /** From client to peer: the ChannelData header comes off. Else it is put on. */
  toPeer: 1,
  /** The packet that leaves is an IPv6 one. */
  ipv6: 2,
  /** The peer is an address of this relay: the packet goes on to that allocation's client, or up. */
  hairpin: 4,
} as const;

/** Of each channel, in memory shared with the process. */
export const state: Struct<
  "expiresAtNs" | "packetsToPeer" | "bytesToPeer" | "packetsToClient" | "bytesToClient" | "padding"
> = struct({
  /** On CLOCK_MONOTONIC, in nanoseconds. From then on packets go up. 0: the slot is free. */
  expiresAtNs: 8,
  packetsToPeer: 8,
  /** Payload, without ChannelData headers. */
  bytesToPeer: 8,
  packetsToClient: 8,
  bytesToClient: 8,
  /** One cache line for each channel. */
  padding: 24,
});

/** The next hop to some destination: its first eight bytes change in one store, the others never. */
export const hop: Struct<"destination" | "mtu" | "source" | "padding" | "interface" | "end"> = struct({
  /** Link address. With `mtu` 0 there is no way: packets go up. */
  destination: 6,
  /** Largest IP packet, host order. */
  mtu: 2,
  source: 6,
  padding: 2,
  /** Index of the interface. */
  interface: 4,
  end: 4,
});

/** Memory of each CPU, where the TCX program makes the packet that leaves. */
export const scratch: Struct<"headers" | "payload"> = struct({
  headers: 72,
  /** More than jumbo frames carry. */
  payload: 9216,
});

/** What became of the UDP packets that the program saw, and the place of each count. */
export const OUTCOME = {
  relayedToPeer: 0,
  relayedToClient: 1,
  /** From a client to a peer that is another client of this relay. */
  relayedHairpin: 2,
  /** Went up, as no channel names it: requests, indications, other traffic. */
  noRoute: 3,
  /** Went up: channel or permission has expired. */
  expired: 4,
  /** Went up: ChannelData whose length isn't its datagram's, or a peer's packet with the relay's own source. */
  unusual: 5,
  /** Went up: the checksum was left to the sender's card, which a virtual interface never does. XDP alone. */
  partialChecksum: 6,
  /** Went up: the neighbour isn't known. */
  noHop: 7,
  /** Went up: larger than the way out carries. */
  tooLarge: 8,
  /** Went up: no room in the packet's buffer, nor another buffer to be had. */
  noHeadroom: 9,
  /** Dropped: the kernel refused to write what it had made room for. There is no way that it does. */
  aborted: 10,
} as const;
export type Outcome = keyof typeof OUTCOME;
export const OUTCOMES: number = Object.keys(OUTCOME).length;
