import type { Now } from "@turnpike/turn";

/** Time, and waking up at a time, as a reactor needs them. */
export interface Clock {
  /** The present moment. The same object each time: read it before asking again. */
  now(): Now;
  /** Calls `wake` once, after `delayMs` or a little later. The returned function calls it off. */
  schedule(delayMs: number, wake: () => void): () => void;
}

/**
 * The machine's clocks, for a reactor on an event loop: the one place where the relay reads them. A turn of the loop is
 * one moment: reading two clocks for each packet would cost a tenth of the portable plane's time.
 */
export function createSystemClock(): Clock {
  const now = { monotonicMs: 0, unixMs: 0 };
  let isRead = false;
  const endTurn = (): void => {
    isRead = false;
  };
  return {
    now() {
      if (!isRead) {
        now.monotonicMs = performance.now();
        now.unixMs = Date.now();
        isRead = true;
        setImmediate(endTurn);
      }
      return now;
    },
    schedule(delayMs, wake) {
      // setTimeout takes at most 2^31 - 1 milliseconds; a reactor that wakes early goes to sleep again.
      const timer = setTimeout(wake, Math.min(Math.max(0, Math.ceil(delayMs)), MAX_DELAY_MS));
      return () => clearTimeout(timer);
    },
  };
}

const MAX_DELAY_MS = 2 ** 31 - 1;
