import type { Libc } from "./libc.ts";

const CACHE_LINE = 64;

/** Unmaps memory that no arena refers to any more. */
const unmapping = new FinalizationRegistry<{ readonly libc: Libc; readonly address: number; readonly size: number }>(
  ({ libc, address, size }) => libc.unmap(address, size),
);

/**
 * One block of memory that system calls read and write in place. Everything in it is named by its offset in bytes;
 * `address + offset` is what the kernel is told.
 *
 * It lies below 2^31 if the machine has room there: larger numbers would each be boxed to be passed to a call, and so
 * make garbage.
 */
export class Arena {
  readonly bytes: Uint8Array;
  /** The same bytes as signed 32-bit integers: index = offset / 4. */
  readonly words: Int32Array;
  readonly view: DataView;
  readonly address: number;
  #used = 0;

  /**
   * Memory of its own, freed when nothing refers to it any more; or, with `address`, memory below 2^31 that is the
   * caller's to free.
   */
  constructor(libc: Libc, size: number, address?: number) {
    const mapped = address ?? libc.mapLow(size);
    const buffer = mapped < 0 ? new ArrayBuffer(size + CACHE_LINE) : libc.viewOf(mapped, size);
    if (address === undefined && mapped >= 0) unmapping.register(buffer, { libc, address: mapped, size });
    const start = mapped < 0 ? libc.addressOf(new Uint8Array(buffer)) : mapped;
    const skew = (CACHE_LINE - (start % CACHE_LINE)) % CACHE_LINE;
    this.bytes = new Uint8Array(buffer, skew, size);
    this.words = new Int32Array(buffer, skew, size >> 2);
    this.view = new DataView(buffer, skew, size);
    this.address = start + skew;
  }

  /** Sets `size` bytes apart and returns their offset, a multiple of a cache line. */
  reserve(size: number): number {
    const offset = this.#used;
    const end = offset + size;
    if (end > this.bytes.length) throw new RangeError(`The arena is full: ${end} of ${this.bytes.length} bytes`);
    this.#used = Math.ceil(end / CACHE_LINE) * CACHE_LINE;
    return offset;
  }

  /** Writes the address of `target` (an offset in this arena) as a 64-bit pointer at `offset`, a multiple of 8. */
  setPointer(offset: number, target: number): void {
    const address = this.address + target;
    const index = offset >> 2;
    this.words[index] = address | 0;
    this.words[index + 1] = (address / 0x1_0000_0000) | 0;
  }

  /** Writes a 64-bit length (below 2^31) at `offset`, a multiple of 8. */
  setLength(offset: number, length: number): void {
    const index = offset >> 2;
    this.words[index] = length;
    this.words[index + 1] = 0;
  }
}
