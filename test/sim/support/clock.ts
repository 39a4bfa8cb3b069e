import type { Now } from "@turnpike/turn";

/** A clock that stands still until it is moved. */
export class VirtualClock implements Now {
  monotonicMs = 1_000;
  unixMs: number = Date.UTC(2030, 0, 1);

  advance(ms: number): void {
    this.monotonicMs += ms;
    this.unixMs += ms;
  }
}
