// How many allocations each user may have, by plan. Plug it in: startRelay({ ...userQuota(plans), … })
import type { RelayOptions } from "@turnpike/relay";

export function userQuota(plans: ReadonlyMap<string, number>): Pick<RelayOptions, "events" | "limits"> {
  return {
    limits: {
      quotas: { user: 1 },
      limitsFor: ({ actor }) => {
        const allocations = plans.get(actor);
        return allocations === undefined ? undefined : { allocations };
      },
    },
    events: { allocationRefused: ({ actor, code, reason }) => console.log(`${actor}: ${code} ${reason}`) },
  };
}
