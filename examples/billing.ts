// What each user has relayed, while it goes on: startRelay({ ...billing(bill), trafficReportSeconds: 10, … })
import type { RelayOptions } from "@turnpike/relay";
import type { AllocationContext, Totals } from "@turnpike/turn";

export function billing(bill: Map<string, number>): Pick<RelayOptions, "events"> {
  // Totals are those of the whole allocation: what was billed of it before is taken off.
  const billed = new Map<string, number>();
  const add = ({ allocationId, actor }: AllocationContext, { bytesToPeers, bytesFromPeers }: Totals): void => {
    const bytes = bytesToPeers + bytesFromPeers;
    bill.set(actor, (bill.get(actor) ?? 0) + bytes - (billed.get(allocationId) ?? 0));
    billed.set(allocationId, bytes);
  };
  return {
    events: {
      trafficReport: ({ context, totals }) => add(context, totals),
      allocationDeleted: ({ context, totals }) => {
        add(context, totals);
        billed.delete(context.allocationId);
      },
    },
  };
}
