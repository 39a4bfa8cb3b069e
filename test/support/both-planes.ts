import { loadLibc, type Relay, type RelayOptions } from "@turnpike/relay";
import { startBatchedTestRelay } from "./batched-relay.ts";
import { startTestRelay } from "./relay.ts";

/** What a relay on either plane can be started with. */
export type EitherPlaneOptions = Partial<Omit<RelayOptions, "authenticate" | "forwarding" | "plane">>;

/** A plane, and how a relay on it is started: for Alice and Bob, on loopback, stopped at the end of the test. */
export interface PlaneUnderTest {
  readonly plane: "portable" | "batched";
  readonly start: (options?: EitherPlaneOptions) => Promise<Relay>;
}

export const PORTABLE: PlaneUnderTest = { plane: "portable", start: (options) => startTestRelay(options) };

/** Two threads. Fails to start where the machine can't run it. */
export const BATCHED: PlaneUnderTest = {
  plane: "batched",
  start: (options) => {
    const libc = loadLibc();
    if ("unavailable" in libc) throw new Error(libc.unavailable);
    return startBatchedTestRelay({ libc, threads: 2, ...options });
  },
};

/** Each plane that this machine is known for. */
export const PLANES: readonly PlaneUnderTest[] = "unavailable" in loadLibc() ? [PORTABLE] : [PORTABLE, BATCHED];
