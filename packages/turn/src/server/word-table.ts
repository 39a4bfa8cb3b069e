/**
 * Words of an entry: six of the key (four of an address, two of whatever tells entries apart: port, slot, channel), the
 * value, and one that is free, so that an entry lies in one line of the cache.
 */
const WORDS = 8;
/** Where in an entry the value + 1 stands; 0 marks a free place. */
const VALUE = 6;

/**
 * An open-addressed hash table from six 32-bit integers to a non-negative integer. Look-ups touch one typed array
 * and allocate nothing, which a `Map` with string or BigInt keys can't do. Deletion shifts entries back, so that no
 * tombstones slow a table down that lives for months. `seed` keeps outsiders from choosing colliding keys.
 */
export class WordTable {
  #entries: Int32Array;
  #mask: number;
  #size = 0;
  readonly #seed: number;

  constructor(options: { readonly seed: number; readonly initialCapacity?: number }) {
    let capacity = 16;
    while (capacity < (options.initialCapacity ?? 64)) capacity *= 2;
    this.#entries = new Int32Array(capacity * WORDS);
    this.#mask = capacity - 1;
    this.#seed = options.seed | 0;
  }

  get size(): number {
    return this.#size;
  }

  /** The value of a key, or -1. */
  find(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number): number {
    return this.#entries[this.#place(k0, k1, k2, k3, k4, k5) * WORDS + VALUE]! - 1;
  }

  /** Adds a key, or replaces its value. */
  set(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number, value: number): void {
    if ((this.#size + 1) * 4 > (this.#mask + 1) * 3) this.#grow();
    const place = this.#place(k0, k1, k2, k3, k4, k5);
    if (this.#entries[place * WORDS + VALUE] === 0) this.#size++;
    this.#write(place, k0, k1, k2, k3, k4, k5, value + 1);
  }

  /** Removes a key; true if it was there. */
  delete(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number): boolean {
    let hole = this.#place(k0, k1, k2, k3, k4, k5);
    const entries = this.#entries;
    if (entries[hole * WORDS + VALUE] === 0) return false;
    this.#size--;
    for (let next = (hole + 1) & this.#mask; ; next = (next + 1) & this.#mask) {
      const base = next * WORDS;
      if (entries[base + VALUE] === 0) break;
      const home = this.#hash(
        entries[base]!,
        entries[base + 1]!,
        entries[base + 2]!,
        entries[base + 3]!,
        entries[base + 4]!,
        entries[base + 5]!,
      );
      // An entry may move back only if its home place doesn't lie between the hole and itself.
      if (((next - home) & this.#mask) >= ((next - hole) & this.#mask)) {
        entries.copyWithin(hole * WORDS, base, base + WORDS);
        hole = next;
      }
    }
    entries[hole * WORDS + VALUE] = 0;
    return true;
  }

  #place(k0: number, k1: number, k2: number, k3: number, k4: number, k5: number): number {
    const entries = this.#entries;
    const mask = this.#mask;
    for (let place = this.#hash(k0, k1, k2, k3, k4, k5); ; place = (place + 1) & mask) {
      const base = place * WORDS;
      if (
        entries[base + VALUE] === 0 ||
        (entries[base + 3] === k3 &&
          entries[base + 4] === k4 &&
          entries[base + 5] === k5 &&
          entries[base] === k0 &&
          entries[base + 1] === k1 &&
          entries[base + 2] === k2)
      ) {
        return place;
      }
    }
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
    const entries = this.#entries;
    entries[base] = k0;
    entries[base + 1] = k1;
    entries[base + 2] = k2;
    entries[base + 3] = k3;
    entries[base + 4] = k4;
    entries[base + 5] = k5;
    entries[base + VALUE] = stored;
  }

  #grow(): void {
    const old = this.#entries;
    const capacity = (this.#mask + 1) * 2;
    this.#entries = new Int32Array(capacity * WORDS);
    this.#mask = capacity - 1;
    for (let base = 0; base < old.length; base += WORDS) {
      const stored = old[base + VALUE]!;
      if (stored === 0) continue;
      const k0 = old[base]!;
      const k1 = old[base + 1]!;
      const k2 = old[base + 2]!;
      const k3 = old[base + 3]!;
      const k4 = old[base + 4]!;
      const k5 = old[base + 5]!;
      this.#write(this.#place(k0, k1, k2, k3, k4, k5), k0, k1, k2, k3, k4, k5, stored);
    }
  }
}
