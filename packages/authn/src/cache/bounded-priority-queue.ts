/** What left a {@link BoundedPriorityQueue}, or stands in it. */
export interface QueueEntry<K, V> {
  readonly key: K;
  readonly value: V;
  /** Lower leaves first. */
  readonly priority: number;
}

interface Node<K, V> extends QueueEntry<K, V> {
  value: V;
  priority: number;
  /** Order of arrival: among equals the oldest leaves first. */
  order: number;
  /** Where the node stands in the heap. */
  index: number;
}

/**
 * A priority search queue with a bound: a map whose entries also stand in the order of their priority. A fresh entry
 * that finds the queue full takes the place of the entry with the lowest priority, whatever its own priority is; among
 * equals the oldest goes. Giving a key a new value never evicts another.
 *
 * Look-up is O(1); insert, change, delete and evicting the lowest are O(log n): an index beside a binary heap.
 *
 * @example
 * const queue = new BoundedPriorityQueue<string, string>({ capacity: 1 });
 * queue.set("a", "first", 10);
 * queue.set("b", "second", 5); // { key: "a", value: "first", priority: 10 }
 */
export class BoundedPriorityQueue<K, V> {
  #capacity: number;
  #nextOrder = 0;
  readonly #heap: Node<K, V>[] = [];
  readonly #nodes = new Map<K, Node<K, V>>();

  /**
   * @param options.capacity how many entries fit. Zero or less: none, ever
   * @throws RangeError if `capacity` is not an integer
   */
  constructor({ capacity }: { readonly capacity: number }) {
    this.#capacity = checkCapacity(capacity);
  }

  /** How many entries there are. */
  get size(): number {
    return this.#heap.length;
  }

  /** How many entries fit, as it was given; negative means none. */
  get capacity(): number {
    return this.#capacity;
  }

  /** The value of `key`, if there is one. Doesn't change any order. */
  get(key: K): V | undefined {
    return this.#nodes.get(key)?.value;
  }

  has(key: K): boolean {
    return this.#nodes.has(key);
  }

  /** The entry with the lowest priority. */
  peek(): QueueEntry<K, V> | undefined {
    const first = this.#heap[0];
    return first === undefined ? undefined : entryOf(first);
  }

  /**
   * Puts `value` under `key`, in place of what stood there.
   *
   * @returns the entry that had to leave for it; `undefined` if none had to, or if nothing fits at all
   * @throws RangeError if `priority` is NaN, which has no place in an order
   */
  set(key: K, value: V, priority: number): QueueEntry<K, V> | undefined {
    if (Number.isNaN(priority)) throw new RangeError("Cannot queue an entry: its priority is NaN");
    const present = this.#nodes.get(key);
    if (present !== undefined) {
      present.value = value;
      present.priority = priority;
      present.order = this.#nextOrder++;
      this.#settle(present);
      return undefined;
    }
    if (this.#capacity <= 0) return undefined;
    const evicted = this.#heap.length >= this.#capacity ? this.pop() : undefined;
    const node: Node<K, V> = { key, value, priority, order: this.#nextOrder++, index: this.#heap.length };
    this.#heap.push(node);
    this.#nodes.set(key, node);
    this.#up(node);
    return evicted;
  }

  /** Takes `key` out; tells whether it was there. */
  delete(key: K): boolean {
    const node = this.#nodes.get(key);
    if (node === undefined) return false;
    this.#remove(node);
    return true;
  }

  /** Takes the entry with the lowest priority out. */
  pop(): QueueEntry<K, V> | undefined {
    const first = this.#heap[0];
    if (first === undefined) return undefined;
    this.#remove(first);
    return entryOf(first);
  }

  /** Takes out what has a priority of `limit` or lower, lowest first: k entries in O(k log n). */
  popUpTo(limit: number): readonly QueueEntry<K, V>[] {
    const popped: QueueEntry<K, V>[] = [];
    for (let first = this.#heap[0]; first !== undefined && first.priority <= limit; first = this.#heap[0]) {
      this.#remove(first);
      popped.push(entryOf(first));
    }
    return popped;
  }

  /**
   * Changes how many entries fit, evicting the lowest until they do.
   *
   * @returns what had to leave, lowest first
   * @throws RangeError if `capacity` is not an integer
   */
  resize(capacity: number): readonly QueueEntry<K, V>[] {
    this.#capacity = checkCapacity(capacity);
    const evicted: QueueEntry<K, V>[] = [];
    while (this.#heap.length > Math.max(0, this.#capacity)) {
      const entry = this.pop();
      if (entry !== undefined) evicted.push(entry);
    }
    return evicted;
  }

  /** Takes everything out. */
  clear(): void {
    this.#heap.length = 0;
    this.#nodes.clear();
  }

  /** All entries as they are, in no particular order. */
  entries(): readonly QueueEntry<K, V>[] {
    return this.#heap.map(entryOf);
  }

  #remove(node: Node<K, V>): void {
    this.#nodes.delete(node.key);
    const last = this.#heap.pop();
    if (last === undefined || last === node) return;
    last.index = node.index;
    this.#heap[node.index] = last;
    this.#settle(last);
  }

  #settle(node: Node<K, V>): void {
    this.#up(node);
    this.#down(node);
  }

  #up(node: Node<K, V>): void {
    while (node.index > 0) {
      const parent = this.#heap[(node.index - 1) >> 1];
      if (parent === undefined || !precedes(node, parent)) return;
      this.#swap(node, parent);
    }
  }

  #down(node: Node<K, V>): void {
    for (;;) {
      const left = this.#heap[2 * node.index + 1];
      const right = this.#heap[2 * node.index + 2];
      if (left === undefined) return;
      const child = right !== undefined && precedes(right, left) ? right : left;
      if (!precedes(child, node)) return;
      this.#swap(child, node);
    }
  }

  #swap(a: Node<K, V>, b: Node<K, V>): void {
    const index = a.index;
    a.index = b.index;
    b.index = index;
    this.#heap[a.index] = a;
    this.#heap[b.index] = b;
  }
}

function precedes<K, V>(a: Node<K, V>, b: Node<K, V>): boolean {
  return a.priority < b.priority || (a.priority === b.priority && a.order < b.order);
}

function entryOf<K, V>({ key, value, priority }: Node<K, V>): QueueEntry<K, V> {
  return { key, value, priority };
}

function checkCapacity(capacity: number): number {
  if (!Number.isInteger(capacity)) throw new RangeError(`Cannot bound a queue at ${capacity}: use a whole number`);
  return capacity;
}
