import { type IpAddress, sameTransportAddress, type TransportAddress } from "@turnpike/stun";
import type { Allocation, Channel, ClientAddress, Permission, RelayLeg } from "./allocation.ts";
import type { PeerConnection } from "./peer-connection.ts";
import type { Now } from "./contract.ts";
import { Slots } from "./slots.ts";
import { TimerHeap } from "./timer-heap.ts";
import { WordTable } from "./word-table.ts";

/** What a timer can be set for. */
export type Timed = Allocation | Permission | Channel | PeerConnection | Alarm;

/** Anything else that is due at a time. */
export interface Alarm {
  readonly kind: "alarm";
  readonly ring: (now: Now) => void;
}

/**
 * All that lives in an engine, findable by everything that a packet can carry, and the one heap of deadlines.
 * Keeps tables and timers in step; knows no rules.
 */
export class Registry {
  readonly timers: TimerHeap<Timed> = new TimerHeap<Timed>();
  readonly #allocations = new Slots<Allocation>();
  readonly #permissions = new Slots<Permission>();
  readonly #channels = new Slots<Channel>();
  readonly #byFiveTuple: WordTable;
  readonly #byChannelNumber: WordTable;
  readonly #byChannelPeer: WordTable;
  readonly #byPermission: WordTable;
  /** Allocation slot + 1 for each relay socket handle. */
  #bySocket = new Int32Array(64);

  constructor(seed: () => number) {
    this.#byFiveTuple = new WordTable({ seed: seed() });
    this.#byChannelNumber = new WordTable({ seed: seed() });
    this.#byChannelPeer = new WordTable({ seed: seed() });
    this.#byPermission = new WordTable({ seed: seed() });
  }

  get allocationCount(): number {
    return this.#allocations.size;
  }

  allocations(): IterableIterator<Allocation> {
    return this.#allocations.values();
  }

  findAllocation(listener: number, remote: TransportAddress): Allocation | undefined {
    const slot = this.#byFiveTuple.find(remote.w0, remote.w1, remote.w2, remote.w3, remote.port, listener);
    return slot < 0 ? undefined : this.#allocations.get(slot);
  }

  findBySocket(socket: number): Allocation | undefined {
    const stored = this.#bySocket[socket] ?? 0;
    return stored === 0 ? undefined : this.#allocations.get(stored - 1);
  }

  findChannel(allocation: Allocation, number: number): Channel | undefined {
    const { recent } = allocation;
    if (recent !== undefined && recent.number === number) return recent;
    const slot = this.#byChannelNumber.find(number, allocation.slot, 0, 0, 0, 0);
    if (slot < 0) return undefined;
    return (allocation.recent = this.#channels.get(slot));
  }

  findChannelOfPeer(allocation: Allocation, peer: TransportAddress): Channel | undefined {
    const { recent } = allocation;
    if (recent !== undefined && sameTransportAddress(recent.peer, peer)) return recent;
    const slot = this.#byChannelPeer.find(peer.w0, peer.w1, peer.w2, peer.w3, peer.port, allocation.slot);
    if (slot < 0) return undefined;
    return (allocation.recent = this.#channels.get(slot));
  }

  findPermission(allocation: Allocation, peer: IpAddress): Permission | undefined {
    const slot = this.#byPermission.find(peer.w0, peer.w1, peer.w2, peer.w3, 0, allocation.slot);
    return slot < 0 ? undefined : this.#permissions.get(slot);
  }

  addAllocation(allocation: Allocation): void {
    allocation.slot = this.#allocations.add(allocation);
    this.#addClient(allocation.client, allocation.slot);
    for (const relay of allocation.relays) this.#setSocket(relay.socket, allocation.slot + 1);
    this.timers.set(allocation, allocation.expiresAtMs);
  }

  addPermission(permission: Permission): void {
    const { peer, allocation } = permission;
    permission.slot = this.#permissions.add(permission);
    this.#byPermission.set(peer.w0, peer.w1, peer.w2, peer.w3, 0, allocation.slot, permission.slot);
    allocation.permissions.add(permission);
    allocation.peersSeen++;
    this.timers.set(permission, permission.expiresAtMs);
  }

  addChannel(channel: Channel): void {
    const { peer, allocation } = channel;
    channel.slot = this.#channels.add(channel);
    this.#byChannelNumber.set(channel.number, allocation.slot, 0, 0, 0, 0, channel.slot);
    this.#byChannelPeer.set(peer.w0, peer.w1, peer.w2, peer.w3, peer.port, allocation.slot, channel.slot);
    allocation.channels.add(channel);
    this.timers.set(channel, channel.expiresAtMs);
  }

  removeChannel(channel: Channel): void {
    const { peer, allocation } = channel;
    this.timers.delete(channel);
    this.#byChannelNumber.delete(channel.number, allocation.slot, 0, 0, 0, 0);
    this.#byChannelPeer.delete(peer.w0, peer.w1, peer.w2, peer.w3, peer.port, allocation.slot);
    this.#channels.remove(channel.slot);
    if (allocation.recent === channel) allocation.recent = undefined;
    allocation.channels.delete(channel);
    channel.permission.channels?.delete(channel);
  }

  removePermission(permission: Permission): void {
    const { peer, allocation } = permission;
    this.timers.delete(permission);
    this.#byPermission.delete(peer.w0, peer.w1, peer.w2, peer.w3, 0, allocation.slot);
    this.#permissions.remove(permission.slot);
    permission.slot = -1;
    allocation.permissions.delete(permission);
  }

  /** Leaves an allocation these relay sockets only. */
  removeRelays(allocation: Allocation, left: readonly RelayLeg[]): void {
    for (const relay of allocation.relays) if (!left.includes(relay)) this.#setSocket(relay.socket, 0);
    allocation.relays = left;
    this.timers.set(allocation, allocation.expiresAtMs);
  }

  /** Removes an allocation whose permissions and channels have been removed. */
  removeAllocation(allocation: Allocation): void {
    this.timers.delete(allocation);
    this.#removeClient(allocation.client);
    if (allocation.next !== undefined) this.#removeClient(allocation.next);
    for (const relay of allocation.relays) this.#setSocket(relay.socket, 0);
    this.#allocations.remove(allocation.slot);
    allocation.slot = -1;
  }

  /** A second five-tuple for an allocation whose client moves; a third takes the place of the second. */
  addNextClient(allocation: Allocation, client: ClientAddress): void {
    if (allocation.next !== undefined) this.#removeClient(allocation.next);
    allocation.next = client;
    this.#addClient(client, allocation.slot);
  }

  /** Whether this is the five-tuple that an allocation's client moves to. */
  isNextClient({ next }: Allocation, listener: number, remote: TransportAddress): boolean {
    return next?.listener === listener && sameTransportAddress(next.remote, remote);
  }

  /** The client has moved: its old five-tuple is forgotten. */
  completeMove(allocation: Allocation): void {
    if (allocation.next === undefined) return;
    this.#removeClient(allocation.client);
    allocation.client = allocation.next;
    allocation.nonce = undefined;
    allocation.next = undefined;
  }

  /** One of the two connections of a client that moves has ended: the other is the allocation's. */
  endMove(allocation: Allocation, listener: number, remote: TransportAddress): void {
    const { next } = allocation;
    if (next === undefined || !this.isNextClient(allocation, listener, remote)) {
      this.completeMove(allocation);
      return;
    }
    this.#removeClient(next);
    allocation.next = undefined;
  }

  #addClient(client: ClientAddress, slot: number): void {
    const { listener, remote } = client;
    this.#byFiveTuple.set(remote.w0, remote.w1, remote.w2, remote.w3, remote.port, listener, slot);
  }

  #removeClient(client: ClientAddress): void {
    const { listener, remote } = client;
    this.#byFiveTuple.delete(remote.w0, remote.w1, remote.w2, remote.w3, remote.port, listener);
  }

  #setSocket(socket: number, stored: number): void {
    if (socket >= this.#bySocket.length) {
      const larger = new Int32Array(Math.max(socket + 1, this.#bySocket.length * 2));
      larger.set(this.#bySocket);
      this.#bySocket = larger;
    }
    this.#bySocket[socket] = stored;
  }
}

/** A copy of a packet's source that may be kept. */
export function keepAddress(address: TransportAddress): TransportAddress {
  const { family, w0, w1, w2, w3, port } = address;
  return { family, w0, w1, w2, w3, port };
}

/** Names a five-tuple where a string key is good enough: in the few places off the data path. */
export function fiveTupleName(client: Pick<ClientAddress, "listener" | "remote">): string {
  const { w0, w1, w2, w3, port } = client.remote;
  return `${client.listener}/${w0}.${w1}.${w2}.${w3}/${port}`;
}
