import type { FrameCount, FrameLoad } from "./frames.ts";
import type { SubjectName } from "./subjects.ts";

/** One relay under one load: the round in the middle. */
export interface Row extends FrameCount {
  readonly flows: number;
  readonly direction: FrameLoad["direction"];
  readonly subject: SubjectName;
}

/** The run as a whole. */
export interface KernelRun {
  readonly machine: string;
  readonly versions: string;
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly rows: readonly Row[];
}

/** Over the lines of {@link rowText}. */
export const TITLE = "flows direction  relay    kpps  lost %  busy %  µs/packet  kpps of a busy core";

/** For a terminal. */
export function rowText(row: Row): string {
  return [
    String(row.flows).padStart(5),
    row.direction.padEnd(10),
    row.subject.padEnd(8),
    (rate(row) / 1000).toFixed(0).padStart(4),
    loss(row).toFixed(1).padStart(7),
    busy(row).toFixed(0).padStart(7),
    (cost(row) / 1000).toFixed(2).padStart(10),
    (1e6 / cost(row)).toFixed(0).padStart(20),
  ].join(" ");
}

/** The page for people. */
export function page(run: KernelRun): string {
  const lines = [
    "# The kernel plane, measured",
    "",
    "Measured by `npm run bench:kernel -- --write`, which writes this page. Figures of one machine and one day.",
    "",
    `- ${run.machine}; ${run.versions}; ${run.date}`,
    `- Voice (172 bytes) through channels, in turns of the flows. Two network namespaces joined by veth; the relay on one`,
    `  core, the generator on the other; the middle one of ${run.rounds} rounds of ${run.seconds} s.`,
    "- The generator is a program in the kernel: relays get frames as from a card's driver, without a socket buffer, and",
    "  what they send is counted and dropped where it arrives. It keeps 192 packets under way.",
    "- *Busy* is time on a core of the relay's process (all threads) and of the kernel's thread that receives for it",
    "  (threaded NAPI; interrupts that fall into either count). Nothing else on the machine counts.",
    "- *× coturn* compares packets for a second of that time.",
  ];
  for (const direction of ["to peer", "to client"] as const) {
    const title = direction === "to peer" ? "From clients to peers" : "From peers to clients";
    lines.push("", `## ${title}`, "");
    const rows = run.rows.filter((row) => row.direction === direction);
    const cells = rows.map((row) => {
      const coturn = rows.find(({ flows, subject }) => flows === row.flows && subject === "coturn");
      return [
        String(row.flows),
        row.subject,
        (rate(row) / 1000).toFixed(0),
        loss(row).toFixed(1),
        busy(row).toFixed(0),
        (cost(row) / 1000).toFixed(2),
        (1e6 / cost(row)).toFixed(0),
        coturn === undefined ? "" : (cost(coturn) / cost(row)).toFixed(1),
      ];
    });
    lines.push(...table(HEAD, cells));
  }
  return `${[...lines, "", ...READING].join("\n")}\n`;
}

const HEAD = ["flows", "relay", "kpps", "lost %", "busy %", "µs/packet", "kpps of a busy core", "× coturn"];

/** What a reader should know of every run. */
const READING: readonly string[] = [
  "## Reading the figures",
  "",
  "- *kpps* is what went through; where *busy* is below 100 %, generator and sink were the limit.",
  "- Sockets on the other end of a veth pair give another picture: veth must then make a buffer for XDP of each packet that",
  "  a socket sent (an allocation, a copy, cache misses between cores), more work than relaying it, and only in virtual",
  "  networks. A card's driver has such buffers from the start.",
  "- On a machine that does other things too, relays wait for their core between packets and find their caches taken:",
  "  sockets then look dearer than they are. Run it on a quiet one.",
  "- In generic mode the program runs behind the making of a socket buffer: it spares the UDP stack, not the buffer.",
];

function rate({ received, seconds }: FrameCount): number {
  return received / seconds;
}

function loss({ sent, received }: FrameCount): number {
  return Math.max(0, (100 * (sent - received)) / Math.max(1, sent));
}

function busy({ busyNs, seconds }: FrameCount): number {
  return busyNs / 1e7 / seconds;
}

/** Nanoseconds on a core for each packet. */
function cost({ busyNs, received }: FrameCount): number {
  return busyNs / Math.max(1, received);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string =>
    column === 1 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => pad(cell, column)).join(" | ")} |`;
  const rule = widths.map((width, column) => (column === 1 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map((row) => line(row))];
}
