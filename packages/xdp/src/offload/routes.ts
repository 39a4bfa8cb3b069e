import type { Field } from "../assembler/struct.ts";
import { route, ROUTE_FLAG, routeKey } from "../program/layout.ts";
import { fold, negated, sumOf } from "../program/sums.ts";
import { addressBytes, type Endpoint, type Ip, wireBytes } from "./endpoint.ts";

/** A channel, as the kernel's program needs it. Addresses are those on the wire, behind any NAT. */
export interface ChannelRoute {
  /** 0x4000–0x7fff. */
  readonly channel: number;
  readonly client: Endpoint;
  /** Where the client sends to. */
  readonly listener: Endpoint;
  /** The relay socket. */
  readonly relay: Endpoint;
  readonly peer: Endpoint;
  /** The peer is an address of this relay. */
  readonly hairpin: boolean;
}

/** Places in the other maps. */
export interface RoutePlaces {
  readonly slot: number;
  readonly hopToPeer: number;
  readonly hopToClient: number;
}

/** One entry of the route map. */
export interface RouteEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

const PROTOCOL_UDP = 17;
const TTL = 64;

/** Both ways of a channel. */
export function routeEntries(channel: ChannelRoute, places: RoutePlaces): { toPeer: RouteEntry; toClient: RouteEntry } {
  const { client, listener, relay, peer } = channel;
  const hairpin = channel.hairpin ? ROUTE_FLAG.hairpin : 0;
  return {
    toPeer: entry({
      from: { source: client, destination: listener, channel: channel.channel },
      to: { source: relay, destination: peer, channel: 0 },
      flags: ROUTE_FLAG.toPeer | hairpin,
      slot: places.slot,
      hop: places.hopToPeer,
    }),
    toClient: entry({
      from: { source: peer, destination: relay, channel: 0 },
      to: { source: listener, destination: client, channel: channel.channel },
      flags: hairpin,
      slot: places.slot,
      hop: places.hopToClient,
    }),
  };
}

interface Leg {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly channel: number;
}

function entry(options: {
  readonly from: Leg;
  readonly to: Leg;
  readonly flags: number;
  readonly slot: number;
  readonly hop: number;
}): RouteEntry {
  const { from, to } = options;
  const key = new Uint8Array(routeKey.size);
  putLeg(key, routeKey.field, from);
  const value = new Uint8Array(route.size);
  const view = new DataView(value.buffer);
  const set = (field: Field, number: number): void => view.setUint32(field.offset, number, true);
  set(route.field.slot, options.slot);
  set(route.field.hop, options.hop);
  set(route.field.flags, options.flags | (to.source.family === 6 ? ROUTE_FLAG.ipv6 : 0));
  set(route.field.pseudoSum, addressSum(from) + PROTOCOL_UDP);
  set(route.field.difference, fold(legSum(to) + negated(fold(legSum(from)))));
  set(route.field.headerSum, 0x4500 + ((TTL << 8) | PROTOCOL_UDP) + addressSum(to));
  putLeg(value, route.field, to);
  // Flows between the same two addresses begin at different identifications.
  view.setUint16(route.field.identification.offset, Math.imul(legSum(from), 0x9e3779b1) >>> 16, true);
  return { key, value };
}

function putLeg(
  bytes: Uint8Array,
  field: Readonly<Record<"source" | "destination" | "sourcePort" | "destinationPort" | "channel", Field>>,
  leg: Leg,
): void {
  const view = new DataView(bytes.buffer);
  bytes.set(addressBytes(leg.source), field.source.offset);
  bytes.set(addressBytes(leg.destination), field.destination.offset);
  view.setUint16(field.sourcePort.offset, leg.source.port);
  view.setUint16(field.destinationPort.offset, leg.destination.port);
  view.setUint16(field.channel.offset, leg.channel);
}

function addressSum(leg: { readonly source: Ip; readonly destination: Ip }): number {
  return sumOf(wireBytes(leg.source)) + sumOf(wireBytes(leg.destination));
}

function legSum(leg: Leg): number {
  return addressSum(leg) + leg.source.port + leg.destination.port + leg.channel;
}
