// Bandwidth by user, which can change while the user relays: startRelay({ limits: bandwidth(rates), … })
import type { Relay, RelayLimits } from "@turnpike/relay";

export function bandwidth(bytesPerSecond: ReadonlyMap<string, number>): RelayLimits {
  return {
    // Whoever isn't named shares nothing with others, and has this much.
    userRate: { bytesPerSecond: 1_000_000 },
    limitsFor: ({ actor }) => {
      const rate = bytesPerSecond.get(actor);
      return rate === undefined ? undefined : { userRate: { bytesPerSecond: rate } };
    },
    // The relay's own line: when it is full, users share it fairly.
    totalRate: { bytesPerSecond: 100_000_000 },
  };
}

/** New rates: whoever relays is held to them at once. */
export function change(relay: Relay, bytesPerSecond: ReadonlyMap<string, number>): void {
  relay.configure(bandwidth(bytesPerSecond));
}
