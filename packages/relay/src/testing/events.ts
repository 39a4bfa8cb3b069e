import { transportAddress } from "@turnpike/stun";
import type { AllocationContext, LifecycleEvent } from "@turnpike/turn";

/** The context of an allocation of `actor`. */
export function contextOf(actor: string, allocationId = "0-1"): AllocationContext {
  return {
    allocationId,
    username: `1900000000:${actor}`,
    realm: "example.org",
    actor,
    scheme: "shared-secret",
    fiveTuple: {
      transport: "udp",
      client: transportAddress("198.51.100.7", 4000),
      server: transportAddress("192.0.2.1", 3478),
    },
    relayed: [transportAddress("192.0.2.1", 50_000)],
    atUnixMs: Date.UTC(2030, 0, 1),
  };
}

/** An allocation of `actor` was made. */
export function created(actor: string): LifecycleEvent {
  return {
    type: "allocationCreated",
    context: contextOf(actor),
    lifetimeSeconds: 600,
    requestedPort: "any",
    families: [4],
  };
}

/** Somebody failed to authenticate. */
export function authFailed(username: string): LifecycleEvent {
  const { fiveTuple, atUnixMs } = contextOf("x");
  return { type: "authFailed", method: "allocate", reason: "badCredentials", username, fiveTuple, atUnixMs };
}
