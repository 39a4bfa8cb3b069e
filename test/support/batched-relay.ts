import {
  type AuthenticateModule,
  type BatchedRelay,
  type BatchedRelayOptions,
  startBatchedRelay,
} from "@turnpike/relay";
import { expect } from "vitest";
import { ALICE, BOB, keep } from "./relay.ts";

/** Who may use a {@link startBatchedTestRelay}, as its threads are told: Alice and Bob. */
export const STATIC_USERS: AuthenticateModule = {
  module: new URL("static-users-module.ts", import.meta.url).href,
  data: () => ({ [ALICE.username]: ALICE.password, [BOB.username]: BOB.password }),
};

/** A relay of reactors on threads, four by default, that is stopped at the end of the test, and must then hold nothing. */
export async function startBatchedTestRelay(
  options: Partial<BatchedRelayOptions> & Pick<BatchedRelayOptions, "libc">,
): Promise<BatchedRelay> {
  const relay = await startBatchedRelay({
    threads: 4,
    listen: ["udp:127.0.0.1:0", "udp:[::1]:0"],
    relayAddresses: ["127.0.0.1", "::1"],
    authenticate: STATIC_USERS,
    peers: { allow: ["127.0.0.0/8", "::1"] },
    ...options,
  });
  keep({
    async [Symbol.asyncDispose]() {
      // A thread's gauges end with it.
      const { internalErrors } = relay.stats();
      await relay.stop();
      expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, reservedPorts: 0, portsInUse: 0 });
      expect(internalErrors).toBe(0);
    },
  });
  return relay;
}
