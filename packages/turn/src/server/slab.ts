const CHUNK_BYTES = 32_768;
/** Longer ones are rare, and would waste the rest of a chunk. */
const LONGEST = 2048;

/**
 * Lends zeroed bytes for messages that are gone soon: a part of a larger array costs a tenth of an array of its own. Each
 * part is lent once, and keeps its whole chunk in memory: what outlives an input by long is to be copied.
 */
export class Slab {
  #chunk = new Uint8Array(CHUNK_BYTES);
  #used = 0;

  readonly take = (length: number): Uint8Array => {
    if (length > LONGEST) return new Uint8Array(length);
    if (this.#used + length > CHUNK_BYTES) {
      this.#chunk = new Uint8Array(CHUNK_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += length;
    return this.#chunk.subarray(start, this.#used);
  };
}
