import type { Libc } from "../libc/libc.ts";

/** Descriptors that can be named: Linux's largest `nr_open` in common use. */
const DESCRIPTORS = 1 << 20;

/**
 * Which descriptors a thread opened, one bit each, in memory that outlives the thread: descriptors belong to the
 * process, so those of a thread that died must be closed by another.
 */
export class DescriptorRegistry {
  /** Give it to the registry of another thread. */
  readonly memory: SharedArrayBuffer;
  readonly #bits: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(DESCRIPTORS / 8)) {
    this.memory = memory;
    this.#bits = new Int32Array(memory);
  }

  /** The same calls, with what they open noted, and forgotten before it is closed. */
  watch(libc: Libc): Libc {
    const note = (fd: number): number => {
      if (fd >= 0 && fd < DESCRIPTORS) Atomics.or(this.#bits, fd >>> 5, 1 << (fd & 31));
      return fd;
    };
    return {
      ...libc,
      socket: (domain, type, protocol) => note(libc.socket(domain, type, protocol)),
      epollCreate: (flags) => note(libc.epollCreate(flags)),
      eventfd: (initial, flags) => note(libc.eventfd(initial, flags)),
      close: (fd) => {
        // Forgotten first: a number that was closed may be another thread's the next moment.
        if (fd >= 0 && fd < DESCRIPTORS) Atomics.and(this.#bits, fd >>> 5, ~(1 << (fd & 31)));
        return libc.close(fd);
      },
    };
  }

  /** Closes what a thread that has ended left open. Returns how many there were. */
  closeAll(libc: Libc): number {
    let closed = 0;
    for (let word = 0; word < this.#bits.length; word++) {
      const bits = Atomics.exchange(this.#bits, word, 0);
      if (bits === 0) continue;
      for (let bit = 0; bit < 32; bit++) {
        if ((bits & (1 << bit)) === 0) continue;
        libc.close(word * 32 + bit);
        closed++;
      }
    }
    return closed;
  }
}
