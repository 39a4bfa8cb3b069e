/** One quota that a reservation counts against. */
export interface Quota {
  /** What is counted, such as `user alice`. */
  readonly key: string;
  /** How many there may be. */
  readonly limit: number;
}

/** What a store is asked to take. */
export interface Reservation {
  /** Names the reservation in the whole fleet. The same lease is counted once, however often it is asked for. */
  readonly lease: string;
  readonly quotas: readonly Quota[];
}

/** Taken from every quota, or from none because one is full. */
export type Reserved = { readonly granted: true } | { readonly granted: false; readonly full: string };

/**
 * Counts allocations for quotas. `reserve` takes a share before the allocation is made, `commit` keeps it while the
 * allocation lives, `release` gives it back. All three may be repeated. Implementations pass one contract suite
 * (`test/contract/support/admission-store-contract.ts`).
 */
export interface AdmissionStore {
  /** Rejects if the store can't be reached. */
  reserve(reservation: Reservation): Reserved | Promise<Reserved>;
  /** Never rejects: what can't be told is told later. */
  commit(lease: string): void | Promise<void>;
  /** Never rejects: what can't be told is told later, or ends by itself. */
  release(lease: string): void | Promise<void>;
  /** Gives back all that this relay holds. */
  close(): void | Promise<void>;
}
