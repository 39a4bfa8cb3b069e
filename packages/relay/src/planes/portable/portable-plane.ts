import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from "node:dgram";
import { AddressRegister, type TransportAddress, withPort } from "@turnpike/stun";
import { ClientSource, PACKET_HEADROOM } from "@turnpike/turn";
import { AddressText } from "../address-text.ts";
import { PlaneCounter, PlaneCounters } from "../counters.ts";
import { errorCode, openFailure } from "../system-error.ts";
import { PacketBuffer } from "./packet-buffer.ts";
import { Sender } from "./sender.ts";
import {
  type ForwardingPlane,
  MAX_PAYLOAD_IPV4,
  MAX_PAYLOAD_IPV6,
  type Opened,
  type PacketReceiver,
} from "../plane.ts";

/** What {@link PortablePlane} is made with. */
export interface PortablePlaneOptions {
  /** Send and receive buffer that each socket asks the system for, in bytes. Default 4 MiB; the system may give less. */
  readonly socketBufferBytes?: number;
  /** Bytes that may wait in one socket's send queue; what is above is dropped and counted. Default 1 MiB. */
  readonly maxSendQueueBytes?: number;
  /** Makes the sockets. Default `createSocket` of `node:dgram`. */
  readonly createSocket?: (options: SocketOptions) => Socket;
}

/**
 * The forwarding plane over `node:dgram`: any platform, one system call and a few objects a packet. Each datagram is
 * copied once, behind the headroom that the engine needs. libuv sends at once unless a socket's buffer is full, so that
 * one buffer serves packet after packet, and that what became of a send need not be asked each time: see {@link Sender}.
 * The event loop bounds the work of a turn: libuv takes at most 32 datagrams of
 * one socket before it looks at the next.
 */
export class PortablePlane implements ForwardingPlane {
  readonly counters: PlaneCounters = new PlaneCounters();
  readonly #values: Float64Array = this.counters.values;
  readonly #addresses = new AddressText();
  readonly #listeners: (Sender | undefined)[] = [];
  /** Relay sockets by handle. Free places are undefined. */
  readonly #relaySockets: (Sender | undefined)[] = [];
  readonly #freeHandles: number[] = [];
  /** Sockets that are opening, open or closing, with who waits for the end of them. */
  readonly #living = new Map<Socket, (() => void)[]>();
  readonly #source = new ClientSource(new AddressRegister());
  readonly #peer = new AddressRegister();
  readonly #socketBufferBytes: number;
  readonly #maxSendQueueBytes: number;
  readonly #createSocket: (options: SocketOptions) => Socket;
  #packet = new PacketBuffer();
  #receiver: PacketReceiver | undefined;
  #stopped = false;

  constructor(options: PortablePlaneOptions = {}) {
    this.#socketBufferBytes = options.socketBufferBytes ?? 4 * 1024 * 1024;
    this.#maxSendQueueBytes = options.maxSendQueueBytes ?? 1024 * 1024;
    this.#createSocket = options.createSocket ?? createSocket;
  }

  start(receiver: PacketReceiver): void {
    this.#receiver = receiver;
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    this.#open(local, done, (socket) => {
      this.#listeners[listener] = new Sender(socket, this.#countSendError);
      socket.on("error", () => this.#values[PlaneCounter.receiveErrors]!++);
      socket.on("message", (message, from) => this.#handleClientMessage(listener, message, from));
      return listener;
    });
  }

  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void {
    this.#open(local, done, (socket) => {
      const handle = this.#freeHandles.pop() ?? this.#relaySockets.length;
      this.#relaySockets[handle] = new Sender(socket, this.#countSendError);
      socket.on("error", (error) => this.#handleRelaySocketError(handle, error));
      socket.on("message", (message, from) => this.#handlePeerMessage(handle, message, from));
      return handle;
    });
  }

  closeRelaySocket(socket: number, done: () => void): void {
    const closing = this.#relaySockets[socket];
    if (closing === undefined) {
      done();
      return;
    }
    this.#relaySockets[socket] = undefined;
    this.#close(closing.socket, () => {
      this.#freeHandles.push(socket);
      done();
    });
  }

  sendToClient(
    listener: number,
    _connection: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void {
    if (this.#send(this.#listeners[listener], destination, buffer, offset, length)) {
      this.#values[PlaneCounter.packetsToClients]!++;
      this.#values[PlaneCounter.bytesToClients]! += length;
    }
  }

  sendToPeer(
    socket: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    _dontFragment: boolean,
  ): void {
    if (this.#send(this.#relaySockets[socket], destination, buffer, offset, length)) {
      this.#values[PlaneCounter.packetsToPeers]!++;
      this.#values[PlaneCounter.bytesToPeers]! += length;
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#listeners.length = 0;
    this.#relaySockets.length = 0;
    await Promise.all([...this.#living.keys()].map((socket) => new Promise<void>((done) => this.#close(socket, done))));
  }

  #open(local: TransportAddress, done: (opened: Opened) => void, adopt: (socket: Socket) => number): void {
    if (this.#stopped) {
      done({ kind: "failed", failure: "failed", code: "ERR_SOCKET_DGRAM_NOT_RUNNING" });
      return;
    }
    const socket = this.#createSocket({
      type: local.family === 4 ? "udp4" : "udp6",
      ipv6Only: local.family === 6,
      // Destinations are addresses already: without this, each send would wait a turn for a resolver.
      lookup: (address, _options, callback) => callback(null, address, local.family),
    });
    this.#living.set(socket, []);
    socket.once("close", () => this.#forget(socket));
    const fail = (error: Error): void => {
      const code = errorCode(error);
      this.#close(socket, () => done({ kind: "failed", failure: openFailure(code), code }));
    };
    socket.once("error", fail);
    socket.bind({ address: this.#addresses.write(local), port: local.port, exclusive: true }, () => {
      socket.off("error", fail);
      if (this.#stopped) {
        this.#close(socket, () => done({ kind: "failed", failure: "failed", code: "ERR_SOCKET_DGRAM_NOT_RUNNING" }));
        return;
      }
      growBuffers(socket, this.#socketBufferBytes);
      const bound = withPort(local, socket.address().port);
      done({ kind: "opened", socket: adopt(socket), local: bound });
    });
  }

  #close(socket: Socket, done: () => void): void {
    const waiting = this.#living.get(socket);
    if (waiting === undefined) {
      done();
      return;
    }
    waiting.push(done);
    if (waiting.length > 1) {
      return;
    }
    socket.removeAllListeners("message");
    socket.removeAllListeners("error");
    // A send that was waiting may still report its failure.
    socket.on("error", () => this.#values[PlaneCounter.sendErrors]!++);
    socket.close();
  }

  #forget(socket: Socket): void {
    const waiting = this.#living.get(socket) ?? [];
    this.#living.delete(socket);
    for (const done of waiting) {
      done();
    }
  }

  #handleClientMessage(listener: number, message: Uint8Array, from: RemoteInfo): void {
    this.#values[PlaneCounter.packetsFromClients]!++;
    this.#values[PlaneCounter.bytesFromClients]! += message.length;
    const source = this.#source;
    if (!this.#addresses.read(from.address, from.port, source.remote)) {
      this.#values[PlaneCounter.receiveErrors]!++;
      return;
    }
    source.listener = listener;
    source.connection = 0;
    const { bytes } = this.#packet;
    bytes.set(message, PACKET_HEADROOM);
    this.#receiver?.handleClientPacket(source, bytes, PACKET_HEADROOM, message.length);
  }

  #handlePeerMessage(socket: number, message: Uint8Array, from: RemoteInfo): void {
    this.#values[PlaneCounter.packetsFromPeers]!++;
    this.#values[PlaneCounter.bytesFromPeers]! += message.length;
    if (!this.#addresses.read(from.address, from.port, this.#peer)) {
      this.#values[PlaneCounter.receiveErrors]!++;
      return;
    }
    const { bytes } = this.#packet;
    bytes.set(message, PACKET_HEADROOM);
    this.#receiver?.handlePeerPacket(socket, this.#peer, bytes, PACKET_HEADROOM, message.length);
  }

  #handleRelaySocketError(socket: number, error: Error): void {
    this.#values[PlaneCounter.receiveErrors]!++;
    const code = errorCode(error);
    if (!PASSING_ERRORS.has(code)) {
      this.#receiver?.handleRelaySocketError(socket, code);
    }
  }

  #send(
    sender: Sender | undefined,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): boolean {
    if (sender === undefined) {
      this.#values[PlaneCounter.closedSocket]!++;
      return false;
    }
    if (length > (destination.family === 4 ? MAX_PAYLOAD_IPV4 : MAX_PAYLOAD_IPV6)) {
      this.#values[PlaneCounter.oversized]!++;
      return false;
    }
    if (destination.port === 0) {
      this.#values[PlaneCounter.sendErrors]!++;
      return false;
    }
    if (sender.isFull(length, this.#maxSendQueueBytes)) {
      this.#values[PlaneCounter.sendQueueFull]!++;
      return false;
    }
    const packet = this.#packet;
    const isShared = buffer === packet.bytes && !sender.isCongested;
    let bytes = buffer;
    if (isShared) bytes = packet.part(offset, length);
    else if (buffer === packet.bytes) bytes = Uint8Array.prototype.slice.call(buffer, offset, offset + length);
    else if (length !== buffer.length) bytes = buffer.subarray(offset, offset + length);
    sender.send(bytes, destination.port, this.#addresses.write(destination));
    // The system may still read it.
    if (isShared && sender.isCongested) this.#packet = new PacketBuffer();
    return true;
  }

  readonly #countSendError = (): void => {
    this.#values[PlaneCounter.sendErrors]!++;
  };
}

/** Errors that a socket outlives: they concern one packet, one peer, or a moment. */
const PASSING_ERRORS: ReadonlySet<string> = new Set([
  "EACCES",
  "EAGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "EINTR",
  "EMSGSIZE",
  "ENETDOWN",
  "ENETUNREACH",
  "ENOBUFS",
  "ENOMEM",
  "ENOPROTOOPT",
  "EPERM",
  "EPROTO",
  "ETIMEDOUT",
]);

function growBuffers(socket: Socket, bytes: number): void {
  grow(bytes, (size) => socket.setRecvBufferSize(size));
  grow(bytes, (size) => socket.setSendBufferSize(size));
}

/** Systems that have a lower limit refuse, or silently give less: half as much is asked until it is granted. */
function grow(bytes: number, set: (size: number) => void): void {
  for (let size = bytes; size >= 65_536; size = Math.floor(size / 2)) {
    try {
      set(size);
      return;
    } catch {
      continue;
    }
  }
}
