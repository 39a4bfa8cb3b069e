/**
 * Deadlines in a binary heap that knows where each one stands: the next deadline is O(1), adding, moving and removing
 * are O(log n), and nothing ever scans all of them.
 */
export class TimerHeap<T extends object> {
  readonly #entries: { item: T; deadlineMs: number }[] = [];
  readonly #places = new Map<T, number>();

  get size(): number {
    return this.#entries.length;
  }

  /** The earliest deadline, or undefined. */
  peekDeadlineMs(): number | undefined {
    return this.#entries[0]?.deadlineMs;
  }

  /** Adds an item, or moves its deadline. */
  set(item: T, deadlineMs: number): void {
    const place = this.#places.get(item);
    if (place === undefined) {
      this.#entries.push({ item, deadlineMs });
      this.#places.set(item, this.#entries.length - 1);
      this.#up(this.#entries.length - 1);
      return;
    }
    const entry = this.#at(place);
    const earlier = deadlineMs < entry.deadlineMs;
    entry.deadlineMs = deadlineMs;
    if (earlier) this.#up(place);
    else this.#down(place);
  }

  /** Removes an item; true if it was there. */
  delete(item: T): boolean {
    const place = this.#places.get(item);
    if (place === undefined) return false;
    this.#places.delete(item);
    const last = this.#entries.pop()!;
    if (last.item !== item) {
      this.#entries[place] = last;
      this.#places.set(last.item, place);
      this.#up(place);
      this.#down(this.#places.get(last.item)!);
    }
    return true;
  }

  /** Takes the earliest item whose deadline is `nowMs` or before, or undefined. */
  pop(nowMs: number): T | undefined {
    const first = this.#entries[0];
    if (first === undefined || first.deadlineMs > nowMs) return undefined;
    this.delete(first.item);
    return first.item;
  }

  #up(start: number): void {
    let place = start;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#at(parent).deadlineMs <= this.#at(place).deadlineMs) return;
      this.#swap(place, parent);
      place = parent;
    }
  }

  #down(start: number): void {
    let place = start;
    for (;;) {
      const left = 2 * place + 1;
      if (left >= this.#entries.length) return;
      const right = left + 1;
      const child =
        right < this.#entries.length && this.#at(right).deadlineMs < this.#at(left).deadlineMs ? right : left;
      if (this.#at(place).deadlineMs <= this.#at(child).deadlineMs) return;
      this.#swap(place, child);
      place = child;
    }
  }

  #at(place: number): { item: T; deadlineMs: number } {
    return this.#entries[place]!;
  }

  #swap(a: number, b: number): void {
    const first = this.#at(a);
    const second = this.#at(b);
    this.#entries[a] = second;
    this.#entries[b] = first;
    this.#places.set(second.item, a);
    this.#places.set(first.item, b);
  }
}
