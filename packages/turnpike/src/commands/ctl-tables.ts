import { z } from "zod";
import { table } from "./table.ts";

const allocations = z.object({
  allocations: z.array(
    z.object({
      allocation: z.string(),
      actor: z.string(),
      client: z.string(),
      transport: z.string(),
      relayed: z.array(z.string()),
      expiresInSeconds: z.number(),
      totals: z.object({ bytesToPeers: z.number(), bytesFromPeers: z.number() }),
    }),
  ),
});

const bans = z.object({
  bans: z.array(
    z.object({
      subject: z.union([
        z.object({ kind: z.literal("prefix"), prefix: z.string() }),
        z.object({ kind: z.literal("user"), user: z.string() }),
      ]),
      reason: z.string(),
      secondsLeft: z.number(),
    }),
  ),
});

/** Allocations for people. */
export function allocationTable(answer: unknown): string {
  const rows = allocations
    .parse(answer)
    .allocations.map((each) => [
      each.allocation,
      each.actor,
      `${each.transport}:${each.client}`,
      each.relayed.join(" "),
      `${Math.ceil(each.expiresInSeconds)} s`,
      bytes(each.totals.bytesToPeers),
      bytes(each.totals.bytesFromPeers),
    ]);
  return table(["ID", "USER", "CLIENT", "RELAYED", "EXPIRES", "OUT", "IN"], rows, "No allocations");
}

/** Bans for people. */
export function banTable(answer: unknown): string {
  const rows = bans
    .parse(answer)
    .bans.map(({ subject, reason, secondsLeft }) => [
      subject.kind === "user" ? `user ${subject.user}` : subject.prefix,
      `${secondsLeft} s`,
      reason,
    ]);
  return table(["WHO", "LEFT", "WHY"], rows, "No bans");
}

function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let [value, unit] = [count / 1000, 0];
  for (; value >= 999.95 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(1)} ${units[unit]}`;
}
