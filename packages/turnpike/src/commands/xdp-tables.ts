import { z } from "zod";
import { table } from "./table.ts";

const count = z.number();
const stats = z.object({
  kernel: z
    .object({
      interfaces: z.array(z.object({ name: z.string(), mode: z.string(), attached: z.boolean(), program: count })),
      maps: z.array(z.object({ name: z.string(), id: count, used: count, entries: count })),
      channels: count,
      maxChannels: count,
      refused: count,
      hops: z.object({ known: count, unusable: count }),
      traffic: z.object({ packetsToPeer: count, bytesToPeer: count, packetsToClient: count, bytesToClient: count }),
      outcomes: z.record(z.string(), count),
    })
    .optional(),
});

type Kernel = NonNullable<z.infer<typeof stats>["kernel"]>;

/** What the kernel plane is doing. */
export interface KernelStatus extends Kernel {
  /** Packets that were relayed in the kernel. */
  readonly hits: number;
  /** Packets of UDP that went up to the sockets. */
  readonly misses: number;
}

/** Read from a relay's statistics; undefined if it has no kernel plane. */
export function kernelStatusOf(answer: unknown): KernelStatus | undefined {
  const { kernel } = stats.parse(answer);
  if (kernel === undefined) return undefined;
  const sum = (isHit: boolean): number =>
    Object.entries(kernel.outcomes)
      .filter(([name]) => name.startsWith("relayed") === isHit)
      .reduce((total, [, packets]) => total + packets, 0);
  return { ...kernel, hits: sum(true), misses: sum(false) };
}

const MEANINGS: Readonly<Record<string, string>> = {
  relayedToPeer: "from a client to a peer",
  relayedToClient: "from a peer to a client",
  relayedHairpin: "from a client to another client of this relay",
  noRoute: "of no channel: requests, Send indications, other traffic",
  expired: "of a channel or permission that has run out",
  unusual: "ChannelData that isn't its datagram's whole, or the relay's own source address",
  partialChecksum: "without a finished checksum: `ethtool --offload INTERFACE tx off` where they come from",
  noHop: "to a neighbour that the kernel doesn't know at the moment",
  tooLarge: "larger than the way out carries",
  noHeadroom: "without room in their buffers",
  aborted: "dropped, as the kernel refused a step half way: there should be none",
};

/** For people. */
export function kernelTables(status: KernelStatus): string {
  const { hits, misses, channels, maxChannels, refused, hops } = status;
  const packets = Object.entries(status.outcomes).map(([name, number]) => [
    name.startsWith("relayed") ? "hit" : "miss",
    String(number),
    MEANINGS[name] ?? name,
  ]);
  const all = hits + misses;
  const part = all === 0 ? "" : ` (${((100 * hits) / all).toFixed(1)} % of the UDP packets that came)`;
  return [
    table(
      ["INTERFACE", "MODE", "PROGRAM", "ATTACHED"],
      status.interfaces.map((each) => [each.name, each.mode, String(each.program), each.attached ? "yes" : "no"]),
      "No interfaces",
    ),
    table(
      ["MAP", "ID", "USED", "ENTRIES"],
      status.maps.map(({ name, id, used, entries }) => [name, String(id), String(used), String(entries)]),
      "No maps",
    ),
    table(["WHAT", "PACKETS", "WHICH"], packets, "No packets"),
    [
      `Relayed in the kernel: ${hits} packets${part}`,
      `Channels: ${channels} of ${maxChannels}; ${refused} left to the sockets`,
      `Ways out: ${hops.known}, of which ${hops.unusable} can't be used at the moment`,
      "",
    ].join("\n"),
  ].join("\n");
}
