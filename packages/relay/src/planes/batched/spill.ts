import type { Arena } from "../../libc/arena.ts";

/** Room for copies of packets that don't lie in a slot: the engine's own answers, and Data indications of aggregates. */
const SIZE = 512 * 1024;

/** Copies of packets in an arena, until they are sent. */
export class Spill {
  readonly #arena: Arena;
  readonly #start: number;
  #used = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#start = arena.reserve(SIZE);
  }

  /** Bytes of arena that it takes. */
  static readonly SPACE: number = SIZE + 64;

  /** Whether `length` bytes more can be copied before what waits is sent. */
  hasRoom(length: number): boolean {
    return this.#used + length <= SIZE;
  }

  /** All copies have been sent. */
  clear(): void {
    this.#used = 0;
  }

  /** Copies a packet, for which there must be room, and returns its offset in the arena. */
  copy(buffer: Uint8Array, offset: number, length: number): number {
    const at = this.#start + this.#used;
    const { bytes } = this.#arena;
    this.#used += length;
    if (buffer === bytes) bytes.copyWithin(at, offset, offset + length);
    else if (offset === 0 && length === buffer.length) bytes.set(buffer, at);
    else bytes.set(buffer.subarray(offset, offset + length), at);
    return at;
  }
}
