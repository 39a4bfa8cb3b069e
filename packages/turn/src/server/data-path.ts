import {
  channelDataLength,
  channelDataNumber,
  SendIndicationView,
  scanSendIndication,
  writeChannelDataHeader,
  writeDataIndicationHeader,
  AddressRegister,
  type TransportAddress,
} from "@turnpike/stun";
import type { Allocation, Channel, Permission } from "./allocation.ts";
import { type ClientSource, type Forward, type Hairpin, type Now, Verdict } from "./contract.ts";
import { type Direction, TO_CLIENT, TO_PEERS } from "./meter.ts";
import type { Registry } from "./registry.ts";

class ForwardRegister implements Forward {
  socket = 0;
  listener = 0;
  connection = 0;
  destination: TransportAddress = new AddressRegister();
  offset = 0;
  length = 0;
  dontFragment = false;
}

/**
 * The data path: from a packet to where its bytes go, by table look-ups alone. Nothing here allocates: the answer
 * is a verdict and one register.
 */
export class DataPath {
  readonly forward: ForwardRegister = new ForwardRegister();
  readonly #registry: Registry;
  readonly #hairpin: Hairpin;
  readonly #streams: ReadonlySet<number>;
  readonly #dontFragment: boolean;
  readonly #send = new SendIndicationView();
  readonly #address = new AddressRegister();
  readonly #transactionId: Uint8Array;
  readonly #transactionWords: Int32Array;

  constructor(options: {
    readonly registry: Registry;
    readonly hairpin: Hairpin;
    /** Listeners whose clients have connections: those pad ChannelData to four bytes (RFC 8656 §12.5). */
    readonly streams: ReadonlySet<number>;
    readonly dontFragment: boolean;
    readonly random: (length: number) => Uint8Array;
  }) {
    this.#registry = options.registry;
    this.#hairpin = options.hairpin;
    this.#streams = options.streams;
    this.#dontFragment = options.dontFragment;
    this.#transactionId = new Uint8Array(options.random(12));
    this.#transactionWords = new Int32Array(this.#transactionId.buffer);
  }

  /** ChannelData from a client (RFC 8656 §12.6). */
  channelData(source: ClientSource, buffer: Uint8Array, offset: number, length: number, now: Now): Verdict {
    const dataLength = channelDataLength(buffer, offset);
    if (dataLength + 4 > length) return Verdict.consumed;
    const allocation = this.#registry.findAllocation(source.listener, source.remote);
    if (allocation === undefined) return Verdict.consumed;
    if (allocation.next !== undefined) this.#completeMove(allocation, source);
    const channel = this.#registry.findChannel(allocation, channelDataNumber(buffer, offset));
    if (channel === undefined || !this.#mayUse(channel, now)) {
      if (channel?.bound === true) allocation.drops.permission++;
      else allocation.drops.channel++;
      return Verdict.consumed;
    }
    if (isOver(allocation, TO_PEERS, dataLength, now)) return Verdict.consumed;
    return this.#toPeer(allocation, channel.relay.socket, channel.destination, offset + 4, dataLength, false);
  }

  /** A Send indication from a client (RFC 8656 §11.2). */
  sendIndication(source: ClientSource, buffer: Uint8Array, offset: number, length: number, now: Now): Verdict {
    const allocation = this.#registry.findAllocation(source.listener, source.remote);
    if (allocation === undefined) return Verdict.consumed;
    if (allocation.next !== undefined) this.#completeMove(allocation, source);
    const send = this.#send;
    const valid = scanSendIndication(buffer, offset, length, send);
    if (!valid || (send.dontFragment && !this.#dontFragment)) {
      allocation.drops.malformed++;
      return Verdict.consumed;
    }
    const permission = this.#registry.findPermission(allocation, send.peer);
    const relay = allocation.relayOf(send.peer.family);
    if (
      permission === undefined ||
      relay === undefined ||
      allocation.transport === "tcp" ||
      !this.#permits(permission, send.peer, now)
    ) {
      allocation.drops.permission++;
      return Verdict.consumed;
    }
    if (isOver(allocation, TO_PEERS, send.dataLength, now)) return Verdict.consumed;
    let destination = send.peer;
    if (permission.onlyLiveRelayed && this.#hairpin.toLocal(send.peer, this.#address)) destination = this.#address;
    // RFC 8656 §13: DONT-FRAGMENT means nothing where the two sides are of different families.
    const dontFragment = send.dontFragment && source.remote.family === send.peer.family;
    return this.#toPeer(allocation, relay.socket, destination, send.dataOffset, send.dataLength, dontFragment);
  }

  /** A UDP datagram at a relayed transport address (RFC 8656 §11.3, §12.7). */
  fromPeer(
    socket: number,
    peer: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: Now,
  ): Verdict {
    const allocation = this.#registry.findBySocket(socket);
    if (allocation === undefined) return Verdict.consumed;
    const channel = this.#registry.findChannelOfPeer(allocation, peer);
    if (channel !== undefined && this.#mayUse(channel, now)) {
      return this.#channelToClient(allocation, channel.number, buffer, offset, length, now);
    }
    let shown = peer;
    let permission = this.#registry.findPermission(allocation, peer);
    if (permission === undefined && this.#hairpin.toRelayed(peer, this.#address)) {
      shown = this.#address;
      const hairpinned = this.#registry.findChannelOfPeer(allocation, shown);
      if (hairpinned !== undefined && this.#mayUse(hairpinned, now)) {
        return this.#channelToClient(allocation, hairpinned.number, buffer, offset, length, now);
      }
      permission = this.#registry.findPermission(allocation, shown);
    }
    if (permission === undefined || !this.#permits(permission, shown, now)) {
      allocation.drops.permission++;
      return Verdict.consumed;
    }
    if (isOver(allocation, TO_CLIENT, length, now)) return Verdict.consumed;
    return this.#dataIndication(allocation, shown, buffer, offset, length);
  }

  /** RFC 8016 §3.2.2: the first data from the new five-tuple ends the old one. */
  #completeMove(allocation: Allocation, { listener, remote }: ClientSource): void {
    if (this.#registry.isNextClient(allocation, listener, remote)) this.#registry.completeMove(allocation);
  }

  #mayUse(channel: Channel, now: Now): boolean {
    return (
      channel.bound && channel.expiresAtMs > now.monotonicMs && this.#permits(channel.permission, channel.peer, now)
    );
  }

  #permits(permission: Permission, peer: TransportAddress, now: Now): boolean {
    return permission.expiresAtMs > now.monotonicMs && (!permission.onlyLiveRelayed || this.#hairpin.isLive(peer));
  }

  #toPeer(
    allocation: Allocation,
    socket: number,
    destination: TransportAddress,
    offset: number,
    length: number,
    dontFragment: boolean,
  ): Verdict {
    allocation.packetsToPeers++;
    allocation.bytesToPeers += length;
    const forward = this.forward;
    forward.socket = socket;
    forward.listener = 0;
    forward.connection = 0;
    forward.destination = destination;
    forward.offset = offset;
    forward.length = length;
    forward.dontFragment = dontFragment;
    return Verdict.toPeer;
  }

  #channelToClient(
    allocation: Allocation,
    number: number,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: Now,
  ): Verdict {
    if (isOver(allocation, TO_CLIENT, length, now)) return Verdict.consumed;
    const start = offset - 4;
    writeChannelDataHeader(buffer, start, number, length);
    let total = length + 4;
    if (this.#streams.size > 0 && this.#streams.has(allocation.client.listener)) {
      while ((total & 3) !== 0) buffer[start + total++] = 0;
    }
    return this.#toClient(allocation, start, total, length);
  }

  #dataIndication(
    allocation: Allocation,
    peer: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): Verdict {
    // Indications need transaction ids that differ, not ones that can't be guessed: nobody answers them.
    this.#transactionWords[0] = (this.#transactionWords[0]! + 1) | 0;
    const start = writeDataIndicationHeader(buffer, offset, length, peer, this.#transactionId);
    if (start < 0) {
      allocation.drops.malformed++;
      return Verdict.consumed;
    }
    return this.#toClient(allocation, start, offset - start + ((length + 3) & ~3), length);
  }

  #toClient(allocation: Allocation, offset: number, length: number, payloadLength: number): Verdict {
    allocation.packetsFromPeers++;
    allocation.bytesFromPeers += payloadLength;
    const client = allocation.client;
    const forward = this.forward;
    forward.socket = 0;
    forward.listener = client.listener;
    forward.connection = client.connection;
    forward.destination = client.remote;
    forward.offset = offset;
    forward.length = length;
    forward.dontFragment = false;
    return Verdict.toClient;
  }
}

/** Whether a packet is over a limit of its allocation; counts it if so. */
function isOver(allocation: Allocation, direction: Direction, bytes: number, now: Now): boolean {
  const { meters } = allocation;
  if (meters === undefined) return false;
  for (let i = 0; i < meters.length; i++) {
    if (!meters[i]!.take(direction, bytes, now.monotonicMs)) {
      allocation.drops.rate++;
      return true;
    }
  }
  return false;
}
