import type { Socket } from "node:dgram";

/** Sends in a row that must have gone well until not each one is asked about. */
const TRIALS = 64;
/** Of which one is asked about then. */
const SAMPLE = 16;

/**
 * The sending half of a `node:dgram` socket. To be told of an error, Node wants a callback, and calls it by a tick of its
 * own, which costs a tenth of a packet's way through the relay. So each send of a new socket is asked about; after 64
 * that went well, every sixteenth; after one that failed, each again.
 */
export class Sender {
  readonly socket: Socket;
  readonly #done: (error: Error | null) => void;
  #isCongested = false;
  #trials = TRIALS;
  #untilAsked = 0;

  constructor(socket: Socket, onError: () => void) {
    this.socket = socket;
    this.#done = (error) => {
      if (error === null) return;
      this.#trials = TRIALS;
      onError();
    };
  }

  /** Whether something waited to be sent after the latest send. What was given to it must not change until it is gone. */
  get isCongested(): boolean {
    return this.#isCongested;
  }

  /** Whether `length` bytes more would be too many in its queue. */
  isFull(length: number, maxQueueBytes: number): boolean {
    return this.#isCongested && this.socket.getSendQueueSize() + length > maxQueueBytes;
  }

  send(bytes: Uint8Array, port: number, address: string): void {
    const { socket } = this;
    if (this.#trials > 0 || this.#untilAsked === 0) {
      if (this.#trials > 0) this.#trials--;
      this.#untilAsked = SAMPLE - 1;
      socket.send(bytes, port, address, this.#done);
    } else {
      this.#untilAsked--;
      socket.send(bytes, port, address);
    }
    this.#isCongested = socket.getSendQueueCount() > 0;
  }
}
