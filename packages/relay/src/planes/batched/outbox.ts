import type { TransportAddress } from "@turnpike/stun";
import type { Arena } from "../../libc/arena.ts";
import type { Libc } from "../../libc/libc.ts";
import { PlaneCounter as Counter } from "../counters.ts";
import { MAX_PAYLOAD_IPV4, MAX_PAYLOAD_IPV6 } from "../plane.ts";
import { SendQueue } from "./send-queue.ts";
import type { SocketTable } from "./socket-table.ts";
import { Spill } from "./spill.ts";

const CHANNEL_DATA_HEADER = 4;

/**
 * What a plane is to send: packets stay where they lie in the arena, what lies elsewhere or would be overwritten is
 * copied. Nothing is allocated for a packet.
 */
export class Outbox {
  readonly #bytes: Uint8Array;
  readonly #sockets: SocketTable;
  readonly #counters: Float64Array;
  readonly #queue: SendQueue;
  readonly #spill: Spill;

  // Registers, of the packet that is being relayed.
  /** Its offset in the arena. */
  current = 0;
  /** Its neighbours are packets too. */
  inAggregate = false;
  /** Its TOS or traffic class byte; −1: the socket's own. */
  trafficClass = -1;

  constructor(options: {
    readonly libc: Libc;
    readonly arena: Arena;
    readonly sockets: SocketTable;
    readonly counters: Float64Array;
    readonly aggregate: boolean;
  }) {
    const { arena, sockets } = options;
    this.#bytes = arena.bytes;
    this.#sockets = sockets;
    this.#counters = options.counters;
    this.#queue = new SendQueue(options);
    this.#spill = new Spill(arena);
    sockets.watchGrowth((capacity) => this.#queue.grow(capacity));
  }

  /** Bytes of arena that it takes. */
  static readonly SPACE: number = SendQueue.SPACE + Spill.SPACE;

  /** Whether a datagram of `socket` can carry so much to `destination`. If not, that is counted. */
  carries(socket: number, destination: TransportAddress, length: number): boolean {
    const ipv6 = destination.family === 6;
    if (length > (ipv6 ? MAX_PAYLOAD_IPV6 : MAX_PAYLOAD_IPV4)) {
      this.#count(Counter.oversized);
      return false;
    }
    if (destination.port === 0 || (this.#sockets.ipv6[socket] === 1) !== ipv6) {
      this.#count(Counter.sendErrors);
      return false;
    }
    return true;
  }

  /** Adds a packet. What lies in the arena must stay there until the flush. */
  add(
    socket: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    dontFragment: boolean,
  ): void {
    const queue = this.#queue;
    this.makeRoom();
    if (buffer === this.#bytes && (!this.inAggregate || offset >= this.current)) {
      queue.add(socket, destination, offset, length, this.trafficClass, dontFragment, false);
    } else if (buffer === this.#bytes && offset === this.current - CHANNEL_DATA_HEADER) {
      queue.add(socket, destination, offset, length, this.trafficClass, dontFragment, true);
    } else {
      const at = this.#copy(buffer, offset, length);
      queue.add(socket, destination, at, length, this.trafficClass, dontFragment, false);
    }
  }

  /** Sends everything if nothing more can be added. */
  makeRoom(): void {
    if (this.#queue.room === 0) this.#queue.flush();
  }

  /** Sends everything. */
  flush(): void {
    this.#queue.flush();
    this.#spill.clear();
  }

  /** Sends what waits for one socket: before it is closed. */
  flushSocket(socket: number): void {
    this.#queue.flushSocket(socket);
  }

  #copy(buffer: Uint8Array, offset: number, length: number): number {
    if (!this.#spill.hasRoom(length)) this.flush();
    return this.#spill.copy(buffer, offset, length);
  }

  #count(counter: number): void {
    this.#counters[counter] = (this.#counters[counter] ?? 0) + 1;
  }
}
