import type { AdmissionStore, Reservation, Reserved } from "./admission-store.ts";

/** Quotas of one process. Several relays in it may share one store. */
export class MemoryAdmissionStore implements AdmissionStore {
  readonly #counts = new Map<string, number>();
  readonly #leases = new Map<string, readonly string[]>();

  reserve({ lease, quotas }: Reservation): Reserved {
    if (this.#leases.has(lease)) return { granted: true };
    const full = quotas.find(({ key, limit }) => this.count(key) >= limit);
    if (full !== undefined) return { granted: false, full: full.key };
    const keys = quotas.map(({ key }) => key);
    for (const key of keys) this.#counts.set(key, this.count(key) + 1);
    this.#leases.set(lease, keys);
    return { granted: true };
  }

  /** Nothing dies here but the process itself, and the store with it: what is reserved is kept until it is released. */
  commit(): void {}

  release(lease: string): void {
    const keys = this.#leases.get(lease);
    if (keys === undefined) return;
    this.#leases.delete(lease);
    for (const key of keys) {
      const left = this.count(key) - 1;
      if (left === 0) this.#counts.delete(key);
      else this.#counts.set(key, left);
    }
  }

  close(): void {
    this.#leases.clear();
    this.#counts.clear();
  }

  /** How many hold a share of a quota. */
  count(key: string): number {
    return this.#counts.get(key) ?? 0;
  }
}
