import type { AdmissionDecision } from "../reactor/reactor.ts";
import type { AdmissionSettings } from "./admission-control.ts";

/** Of a source, whoever decides. */
export const TOO_MANY_A_SECOND: AdmissionDecision = {
  admitted: false,
  code: 486,
  reason: "Allocation Quota Reached: too many allocations a second from this network",
};

/**
 * Whether admission is open: nothing is configured that takes one place to decide, so that each reactor admits by
 * itself. In memory that the threads of a relay share, so that no request is decided by settings of before.
 */
export class OpenAdmission {
  /** For another thread's `OpenAdmission`. */
  readonly memory: SharedArrayBuffer;
  readonly #flag: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#flag = new Int32Array(memory);
  }

  get isOpen(): boolean {
    return Atomics.load(this.#flag, 0) === 1;
  }

  /** Only on the thread that owns the memory. */
  set isOpen(isOpen: boolean) {
    Atomics.store(this.#flag, 0, isOpen ? 1 : 0);
  }
}

/** Whether nobody can be refused, sent elsewhere or limited by these settings. */
export function isOpenTo({ quotas, ...others }: AdmissionSettings): boolean {
  const { allocationRate, userRate, totalRate, limitsFor, redirect } = others;
  return [
    quotas?.user,
    quotas?.addressPrefix,
    quotas?.total,
    allocationRate,
    userRate,
    totalRate,
    limitsFor,
    redirect,
  ].every((setting) => setting === undefined);
}
