interface Entry {
  readonly bytes: Uint8Array;
  readonly isDatagram: boolean;
}

/**
 * What waits for one slow client, bounded in bytes. When it is full the oldest datagrams go, as a full router's would:
 * for media, late is worse than lost. Answers never go; if they alone fill the queue, the client doesn't read.
 */
export class OutputQueue {
  readonly #maxBytes: number;
  /** Entries from `#head` on; dropped ones are undefined. */
  #entries: (Entry | undefined)[] = [];
  #head = 0;
  /** No datagram waits before this place. */
  #firstDatagram = 0;
  /** Places of dropped datagrams that are still in `#entries`, at most. */
  #holes = 0;
  #bytes = 0;
  #dropped = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Datagrams that were dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  /** False if the bytes could only be kept by dropping an answer: nothing was added. */
  push(bytes: Uint8Array, isDatagram: boolean): boolean {
    while (this.#bytes + bytes.length > this.#maxBytes) {
      if (this.#dropOldest()) continue;
      if (!isDatagram) return false;
      this.#dropped++;
      return true;
    }
    this.#entries.push({ bytes, isDatagram });
    this.#bytes += bytes.length;
    return true;
  }

  /** The next to be sent, undefined if nothing waits. */
  shift(): Uint8Array | undefined {
    while (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head];
      this.#entries[this.#head] = undefined;
      this.#head++;
      if (entry !== undefined) {
        this.#bytes -= entry.bytes.length;
        this.#compact();
        return entry.bytes;
      }
    }
    this.#compact();
    return undefined;
  }

  #dropOldest(): boolean {
    this.#firstDatagram = Math.max(this.#firstDatagram, this.#head);
    for (; this.#firstDatagram < this.#entries.length; this.#firstDatagram++) {
      const entry = this.#entries[this.#firstDatagram];
      if (entry?.isDatagram === true) {
        this.#entries[this.#firstDatagram] = undefined;
        this.#firstDatagram++;
        this.#bytes -= entry.bytes.length;
        this.#dropped++;
        this.#holes++;
        if (this.#holes > COMPACT && this.#holes * 2 > this.#entries.length - this.#head) this.#squeeze();
        return true;
      }
    }
    return false;
  }

  /** Forgets the places of entries that are gone from the front. */
  #compact(): void {
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
      this.#firstDatagram = 0;
      this.#holes = 0;
    } else if (this.#head > COMPACT && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#firstDatagram = Math.max(0, this.#firstDatagram - this.#head);
      this.#head = 0;
    }
  }

  /** Forgets the places of dropped entries, while a client reads nothing at all. */
  #squeeze(): void {
    const answers = this.#entries.slice(this.#head, this.#firstDatagram).filter((entry) => entry !== undefined);
    this.#entries = [...answers, ...this.#entries.slice(this.#firstDatagram)];
    this.#head = 0;
    this.#firstDatagram = answers.length;
    this.#holes = 0;
  }
}

/** Fewer places than this are not worth moving the others. */
const COMPACT = 1024;
