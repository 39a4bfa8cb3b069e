import { z } from "zod";

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

function table(head: readonly string[], rows: readonly (readonly string[])[], empty: string): string {
  if (rows.length === 0) return `${empty}\n`;
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join("  ");
  return `${[head, ...rows].map((row) => line(row)).join("\n")}\n`;
}

function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let [value, unit] = [count / 1000, 0];
  for (; value >= 999.95 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(1)} ${units[unit]}`;
}
