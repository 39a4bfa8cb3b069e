import type { TransportAddress } from "@turnpike/stun";

/** A datagram that a peer sent. */
export interface Datagram {
  readonly peer: TransportAddress;
  readonly data: Uint8Array;
  /** The channel that it came by (0x4000–0x4FFF), or 0. */
  readonly channel: number;
}

/** How much may wait. */
export interface QueueLimits {
  readonly datagrams: number;
  readonly bytes: number;
}

/** Datagrams that nobody has read yet: bounded; when it is full the oldest go, as in a socket. */
export class DatagramQueue {
  readonly #limits: QueueLimits;
  #items: Datagram[] = [];
  #first = 0;
  #bytes = 0;
  #dropped = 0;
  #isEnded = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#items.length - this.#first;
  }

  /** Datagrams that were thrown away unread. */
  get dropped(): number {
    return this.#dropped;
  }

  push(datagram: Datagram): void {
    if (this.#isEnded) return;
    this.#items.push(datagram);
    this.#bytes += datagram.data.length;
    while (this.length > this.#limits.datagrams || (this.#bytes > this.#limits.bytes && this.length > 1)) {
      this.#take();
      this.#dropped++;
    }
    this.#wake?.();
  }

  /** What waits can still be read; then readers see the end, or the error. */
  end(error?: Error): void {
    this.#isEnded = true;
    this.#error ??= error;
    this.#wake?.();
  }

  /** One reader at a time gets each datagram. */
  async *read(): AsyncGenerator<Datagram, void, undefined> {
    for (;;) {
      if (this.length > 0) {
        yield this.#take();
        continue;
      }
      if (this.#isEnded) {
        if (this.#error !== undefined) throw this.#error;
        return;
      }
      await new Promise<void>((resolve) => {
        const earlier = this.#wake;
        this.#wake = () => {
          earlier?.();
          resolve();
        };
      });
      this.#wake = undefined;
    }
  }

  #take(): Datagram {
    const datagram = this.#items[this.#first++]!;
    this.#bytes -= datagram.data.length;
    if (this.#first > 64 && this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return datagram;
  }
}
