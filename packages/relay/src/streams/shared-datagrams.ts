import { createSocket, type Socket } from "node:dgram";
import { AddressRegister, formatIpAddress, formatTransportAddress, type TransportAddress } from "@turnpike/stun";
import { ClientSource, type Listener, PACKET_HEADROOM, PACKET_TAILROOM } from "@turnpike/turn";
import { Arena } from "../libc/arena.ts";
import type { Libc } from "../libc/libc.ts";
import { SOCKADDR_SPACE, writeSocketAddress } from "../libc/socket-address.ts";
import { PlaneCounter, type PlaneCounters } from "../planes/counters.ts";
import type { PacketReceiver } from "../planes/plane.ts";

/** What {@link SharedDatagrams} is made with. */
export interface SharedDatagramsOptions {
  readonly libc: Libc;
  /** A bound socket of each `udp` listener by its id, which others receive from. */
  readonly descriptors: readonly number[];
  readonly listeners: readonly Listener[];
  readonly counters: PlaneCounters;
}

/** Two areas, each on whole cache lines: a socket address, and the largest datagram. */
const SCRATCH_BYTES = 64 + 65_536;

/**
 * UDP clients of an event loop whose relay's UDP listeners belong to other reactors: sends from their sockets, and
 * receives by connected ones from clients that moved here (RFC 8016).
 */
export class SharedDatagrams {
  readonly #options: SharedDatagramsOptions;
  readonly #arena: Arena;
  readonly #address: number;
  readonly #payload: number;
  readonly #adopted = new Map<string, Socket>();
  #receiver: Pick<PacketReceiver, "handleClientPacket"> | undefined;

  constructor(options: SharedDatagramsOptions) {
    this.#options = options;
    this.#arena = new Arena(options.libc, SCRATCH_BYTES);
    this.#address = this.#arena.reserve(SOCKADDR_SPACE);
    this.#payload = this.#arena.reserve(65_536);
  }

  start(receiver: Pick<PacketReceiver, "handleClientPacket">): void {
    this.#receiver = receiver;
  }

  /** Sends from a listener's address. */
  sendToClient(
    listener: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void {
    const { libc, descriptors, counters } = this.#options;
    const { bytes, words, address } = this.#arena;
    bytes.set(buffer.subarray(offset, offset + length), this.#payload);
    const addressLength = writeSocketAddress(words, this.#address, destination);
    const sent = libc.sendto(
      descriptors[listener] ?? -1,
      address + this.#payload,
      length,
      0,
      address + this.#address,
      addressLength,
    );
    if (sent < 0) {
      counters.values[PlaneCounter.sendErrors]!++;
    } else {
      counters.values[PlaneCounter.packetsToClients]!++;
      counters.values[PlaneCounter.bytesToClients]! += length;
    }
  }

  /** Receives what a client sends to a listener, from a socket connected to it, which wins the kernel's look-up. */
  adopt(listener: number, client: TransportAddress): void {
    const local = this.#options.listeners.find(({ id }) => id === listener)?.local;
    const name = nameOf(listener, client);
    if (local === undefined || this.#adopted.has(name)) return;
    const socket = createSocket({
      type: local.family === 4 ? "udp4" : "udp6",
      ipv6Only: local.family === 6,
      reusePort: true,
      lookup: (address, _options, callback) => callback(null, address, local.family),
    });
    this.#adopted.set(name, socket);
    const { values } = this.#options.counters;
    socket.on("error", () => values[PlaneCounter.receiveErrors]!++);
    socket.bind({ address: formatIpAddress(local), port: local.port, exclusive: true }, () => {
      socket.connect(client.port, formatIpAddress(client));
    });
    const remote = new AddressRegister();
    const source = new ClientSource(remote);
    source.listener = listener;
    socket.on("message", (message, from) => {
      // What came between binding and connecting is another client's.
      if (from.port !== client.port || from.address !== formatIpAddress(client)) return;
      values[PlaneCounter.packetsFromClients]!++;
      values[PlaneCounter.bytesFromClients]! += message.length;
      remote.set(client);
      const packet = Buffer.allocUnsafe(PACKET_HEADROOM + message.length + PACKET_TAILROOM);
      packet.set(message, PACKET_HEADROOM);
      this.#receiver?.handleClientPacket(source, packet, PACKET_HEADROOM, message.length);
    });
  }

  release(listener: number, client: TransportAddress): void {
    const name = nameOf(listener, client);
    this.#adopted.get(name)?.close();
    this.#adopted.delete(name);
  }

  /** Closes the sockets that it opened. */
  async stop(): Promise<void> {
    const sockets = [...this.#adopted.values()];
    this.#adopted.clear();
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))));
  }
}

function nameOf(listener: number, client: TransportAddress): string {
  return `${listener} ${formatTransportAddress(client)}`;
}
