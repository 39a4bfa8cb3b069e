/** How many 32-bit words a key has: four of an address, two of whatever tells entries apart (port, slot, channel). */
const WORDS = 6;

/**
 * An open-addressed hash table from six 32-bit integers to a non-negative integer. Look-ups touch two typed arrays
 * and allocate nothing, which a `Map` with string or BigInt keys can't do. Deletion shifts entries back, so that no
 * tombstones slow a table down that lives for months. `seed` keeps outsiders from choosing colliding keys.
 */
export class WordTable {
  #keys: Int32Array;
  /** Value + 1; 0 marks a free place. */
  #values: Int32Array;
  #mask: number;
  #size = 0;
  readonly #seed: number;

  constructor(options: { readonly seed: number; readonly initialCapacity?: number }) {
    let capacity = 16;
    while (capacity < (options.initialCapacity ?? 64)) capacity *= 2;
    this.#keys = new Int32Array(capacity * WORDS);
    this.#values = new Int32Array(capacity);
    this.#mask = capacity - 1;
    this.#seed = options.seed | 0;
  }

  get size(): number {
    return this.#size;
  }

  /** The value of a key, or -1. */
  find(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number): number {
    const place = this.#place(k0, k1, k2, k3, k4, k5);
    return this.#values[place]! - 1;
  }

  /** Adds a key, or replaces its value. */
  set(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number, value: number): void {
    if ((this.#size + 1) * 4 > (this.#mask + 1) * 3) this.#grow();
    const place = this.#place(k0, k1, k2, k3, k4, k5);
    if (this.#values[place] === 0) this.#size++;
    this.#write(place, k0, k1, k2, k3, k4, k5, value + 1);
  }

  /** Removes a key; true if it was there. */
  delete(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number): boolean {
    let hole = this.#place(k0, k1, k2, k3, k4, k5);
    if (this.#values[hole] === 0) return false;
    this.#size--;
    const keys = this.#keys;
    const values = this.#values;
    for (let next = (hole + 1) & this.#mask; values[next] !== 0; next = (next + 1) & this.#mask) {
      const base = next * WORDS;
      const home = this.#hash(
        keys[base]!,
        keys[base + 1]!,
        keys[base + 2]!,
        keys[base + 3]!,
        keys[base + 4]!,
        keys[base + 5]!,
      );
      // An entry may move back only if its home place doesn't lie between the hole and itself.
      if (((next - home) & this.#mask) >= ((next - hole) & this.#mask)) {
        keys.copyWithin(hole * WORDS, base, base + WORDS);
        values[hole] = values[next]!;
        hole = next;
      }
    }
    values[hole] = 0;
    return true;
  }

  #place(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number): number {
    const keys = this.#keys;
    const values = this.#values;
    const mask = this.#mask;
    let place = this.#hash(k0, k1, k2, k3, k4, k5);
    while (values[place] !== 0) {
      const base = place * WORDS;
      if (
        keys[base + 3] === k3 &&
        keys[base + 4] === k4 &&
        keys[base + 5] === k5 &&
        keys[base] === k0 &&
        keys[base + 1] === k1 &&
        keys[base + 2] === k2
      ) {
        return place;
      }
      place = (place + 1) & mask;
    }
    return place;
  }

  #hash(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number): number {
    let hash = this.#seed;
    hash = Math.imul(hash ^ k0, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15) ^ k1, 0xc2b2ae35 | 0);
    hash = Math.imul(hash ^ (hash >>> 13) ^ k2, 0x9e3779b1 | 0);
    hash = Math.imul(hash ^ (hash >>> 15) ^ k3, 0x85ebca6b | 0);
    hash = Math.imul(hash ^ (hash >>> 13) ^ k4, 0xc2b2ae35 | 0);
    hash = Math.imul(hash ^ (hash >>> 15) ^ k5, 0x9e3779b1 | 0);
    return (hash ^ (hash >>> 16)) & this.#mask;
  }

  #write(place: number, k0: number, k1: number, k2: number, k3: number, k4: number, k5: number, stored: number): void {
    const base = place * WORDS;
    this.#keys[base] = k0;
    this.#keys[base + 1] = k1;
    this.#keys[base + 2] = k2;
    this.#keys[base + 3] = k3;
    this.#keys[base + 4] = k4;
    this.#keys[base + 5] = k5;
    this.#values[place] = stored;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    const capacity = values.length * 2;
    this.#keys = new Int32Array(capacity * WORDS);
    this.#values = new Int32Array(capacity);
    this.#mask = capacity - 1;
    for (let old = 0; old < values.length; old++) {
      const stored = values[old]!;
      if (stored === 0) continue;
      const base = old * WORDS;
      const k0 = keys[base]!;
      const k1 = keys[base + 1]!;
      const k2 = keys[base + 2]!;
      const k3 = keys[base + 3]!;
      const k4 = keys[base + 4]!;
      const k5 = keys[base + 5]!;
      this.#write(this.#place(k0, k1, k2, k3, k4, k5), k0, k1, k2, k3, k4, k5, stored);
    }
  }
}
