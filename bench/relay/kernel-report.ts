import type { FaultName, FaultRow } from "./kernel-faults.ts";
import { cost, type GeneratorName, generators, isDisturbed, type Row, threadCost } from "./kernel-figures.ts";
import { median } from "./report.ts";
import { isKernelMode, kernelModes, type SubjectName } from "./subjects.ts";

/** The run as a whole. */
export interface KernelRun {
  readonly machine: string;
  readonly versions: string;
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly rows: readonly Row[];
  readonly faults: readonly FaultRow[];
}

/** Of packets for a second of the relay's core, as a multiple of coturn's. */
const GOAL = 6;
const DIRECTIONS = ["to peer", "to client"] as const;

/** Over the lines of {@link rowText}. */
export const TITLE =
  "generator flows direction  relay            kpps  lost %  core %  threads %  stolen %  µs/packet  by threads";

/** For a terminal. */
export function rowText(row: Row): string {
  return [
    row.generator.padEnd(9),
    String(row.flows).padStart(5),
    row.direction.padEnd(10),
    nameOf(row.subject).padEnd(16),
    (row.packetsPerSecond / 1000).toFixed(0).padStart(4),
    row.lossPercent.toFixed(1).padStart(7),
    row.busyPercent.toFixed(0).padStart(7),
    row.threadPercent.toFixed(0).padStart(10),
    row.stealPercent.toFixed(1).padStart(9),
    cost(row).toFixed(2).padStart(10),
    threadCost(row).toFixed(2).padStart(11),
  ].join(" ");
}

export function faultText({ fault, what, unit, values }: FaultRow): string {
  return `${fault.padEnd(17)} ${what}: median ${told(median(values))}, at most ${told(Math.max(...values))} ${unit}`;
}

/** A row for each goal that was measured, and a sentence for each that was missed. */
export function goalsTable(all: readonly Row[]): readonly string[] {
  const rows = all.filter((row) => !isDisturbed(row));
  const missed: string[] = [];
  const cells = generators.flatMap((generator) =>
    kernelModes.flatMap((mode) =>
      [
        { by: cost, what: "core busy, by `/proc/stat`" },
        { by: threadCost, what: "thread time" },
      ].flatMap(({ by, what }) => {
        const found = rows
          .filter((row) => row.generator === generator && row.subject === mode)
          .map((row) => ratio(rows, row, by))
          .filter(Number.isFinite);
        if (found.length === 0) return [];
        const [least, most] = [Math.min(...found), Math.max(...found)];
        const reached = `${least.toFixed(1)}× to ${most.toFixed(1)}×`;
        const title = `${nameOf(mode)}, ${generator}, ${what}`;
        if (least < GOAL) missed.push(`- **${title}, ≥ ${GOAL}× coturn**: ${reached}. ${WHY[generator]}`);
        return [[title, `≥ ${GOAL}× coturn`, reached, least >= GOAL ? "yes" : "no"]];
      }),
    ),
  );
  return [
    ...table(["what", "goal", "reached", "met"], cells, [0, 1, 2, 3]),
    ...(missed.length === 0 ? [] : ["", "Missed:", "", ...missed]),
  ];
}

/** The page for people. */
export function page(run: KernelRun): string {
  const lines = [
    "# The kernel plane, measured",
    "",
    "Measured by `npm run bench:kernel -- --write`, which writes this page. Figures of one machine and one day.",
    "",
    `- ${run.machine}; ${run.versions}; ${run.date}`,
    "- Voice (172 bytes) through channels, in turns of the flows. Two network namespaces joined by veth; the relay on one",
    `  core, the generator on the other; the middle one of ${run.rounds} rounds of ${run.seconds} s.`,
    "- *Core %* is the relay's core by `/proc/stat`: user, nice, system, irq and softirq, whoever's. Idle, waiting for disks",
    "  and what the hypervisor took (*stolen*) are not work. Generator, sink and what measures run on the other core.",
    "- *Threads %* is the relay's process (all threads) and the kernel's thread that receives for it (threaded NAPI;",
    "  interrupts that fall into either count), by their own clocks. What the core did beyond that is",
    "  others' work.",
    "- *× coturn* compares packets for a second of that time.",
    "",
    "## Goals and what was reached",
    "",
    ...goalsTable(run.rows),
    "",
    "![Packets for a second of the relay's core over flows](kernel.svg)",
  ];
  const leftOut = run.rows.filter((row) => isDisturbed(row));
  if (leftOut.length > 0) {
    lines.push(
      "",
      "Others kept working on the relay's core, 15 points and more, so that these are left out, of goals too:",
      "",
    );
    lines.push("```text", TITLE, ...leftOut.map((row) => rowText(row)), "```");
  }
  const kept = run.rows.filter((row) => !isDisturbed(row));
  for (const generator of generators) {
    for (const direction of DIRECTIONS) {
      const rows = kept.filter((row) => row.generator === generator && row.direction === direction);
      if (rows.length === 0) continue;
      const way = direction === "to peer" ? "from clients to peers" : "from peers to clients";
      lines.push("", `## ${TITLES[generator]}, ${way}`, "", ...figures(rows));
    }
  }
  if (run.faults.length > 0) lines.push("", ...faultLines(run.faults));
  return `${[...lines, "", ...READING].join("\n")}\n`;
}

/** What a relay is called. */
export function nameOf(subject: SubjectName): string {
  return isKernelMode(subject) ? `kernel, ${subject}` : subject;
}

const TITLES: Readonly<Record<GeneratorName, string>> = {
  frames: "Frames as from a card",
  sockets: "Sockets over veth",
};

const WHY: Readonly<Record<GeneratorName, string>> = {
  frames: "By TCX and generic XDP the kernel makes a socket buffer of each frame before the program sees it.",
  sockets:
    "Up to half of the time goes into waking the sink, on another core of a virtual machine, and into freeing buffers of the generator's sockets: neither is relaying, and no card needs it.",
};

function figures(all: readonly Row[]): readonly string[] {
  const rows = all.toSorted((a, b) => a.flows - b.flows || ORDER.indexOf(a.subject) - ORDER.indexOf(b.subject));
  const cells = rows.map((row) => [
    String(row.flows),
    nameOf(row.subject),
    (row.packetsPerSecond / 1000).toFixed(0),
    row.lossPercent.toFixed(1),
    row.busyPercent.toFixed(0),
    row.threadPercent.toFixed(0),
    row.stealPercent.toFixed(1),
    cost(row).toFixed(2),
    (1000 / cost(row)).toFixed(0),
    told(ratio(all, row, cost)),
    told(ratio(all, row, threadCost)),
  ]);
  return table(HEAD, cells, [1]);
}

const ORDER: readonly SubjectName[] = ["coturn", "batched", ...kernelModes];
const HEAD = [
  "flows",
  "relay",
  "kpps",
  "lost %",
  "core %",
  "threads %",
  "stolen %",
  "µs/packet",
  "kpps of a busy core",
  "× coturn",
  "× by threads",
];

/** How often as much coturn's packet costs; NaN: it wasn't measured beside it. */
function ratio(rows: readonly Row[], row: Row, by: (row: Row) => number): number {
  const coturn = rows.find(
    ({ generator, flows, direction, subject }) =>
      generator === row.generator && flows === row.flows && direction === row.direction && subject === "coturn",
  );
  return coturn === undefined ? Number.NaN : by(coturn) / by(row);
}

const FAULT_TITLES: Readonly<Record<FaultName, string>> = {
  expiry: "a channel runs out; from its time to expiry",
  "kill-user": "an operator or portal ends a user's allocations (control socket)",
  reload: "reloaded rules deny the peer (SIGHUP)",
  "kill-9": "the relay is killed (SIGKILL)",
  detach: "the program is taken off from outside",
  "neighbour-deleted": "the neighbour's entry is deleted",
  "neighbour-moved": "the neighbour has another link address",
  "map-full": "the kernel's table is full; from the channel's success",
};

const GOALS: Readonly<Partial<Record<FaultName, string>>> = {
  expiry: "≤ 1000",
  "kill-user": "≤ 1000",
  reload: "≤ 1000",
  "kill-9": "≤ 1000",
};

function faultLines(rows: readonly FaultRow[]): readonly string[] {
  const cells = rows.map(({ fault, what, unit, values }) => {
    const most = Math.max(...values);
    const goal = GOALS[fault];
    return [
      FAULT_TITLES[fault],
      what,
      unit,
      told(median(values)),
      told(most),
      goal ?? "",
      goal === undefined ? "" : most <= 1000 ? "yes" : "no",
    ];
  });
  return [
    "## Faults, timed",
    "",
    `Each ${Math.max(...rows.map(({ values }) => values.length))} times, to \`turnpike relay --plane kernel\` (as it is on veth by default: TCX) and a steady stream, a packet`,
    "each millisecond each way; times are from the order, to what arrives, and so grained by a millisecond and what a",
    "process takes to wake. An operator's order to end is what a portal's is once it has come by its link; a permission",
    "and a channel end in the kernel by one deadline, the earlier of theirs.",
    "",
    ...table(["fault", "what", "unit", "median", "most", "goal", "met"], cells, [0, 1, 2, 6]),
  ];
}

/** What a reader should know of every run. */
const READING: readonly string[] = [
  "## Reading the figures",
  "",
  "- *Frames as from a card*: the generator is a program in the kernel. Relays get frames as from a card's driver, without",
  "  a socket buffer, and what they send is counted and dropped where it arrives. It keeps 192 packets under way.",
  "- *Sockets over veth*: `bench/relay/blaster.c` sends and receives by sockets. Its checksums are finished before the wire,",
  "  the relay's are left to the card.",
  "- veth hands a socket's packet to a native XDP program only after copying it into a page (Linux 6.18,",
  "  `veth_convert_skb_to_xdp_buff`): memory that sockets get from the slab may not become an XDP buffer, however much",
  "  headroom it has. Neither GRO nor more queues nor a program on the other end changes that; generic XDP copies for want",
  "  of headroom alone. A card's driver has such pages from the start.",
  "- veth tells a receiver of what XDP sends natively only if that has an XDP program too: here one that lets all pass.",
  "- What wakes the sink's thread on the other core counts for the relay, for all relays alike: the faster the relay, the",
  "  more of its time that is. A card takes a descriptor.",
  "- `/proc/stat` samples: the kernel notes every 4 ms or so who runs. Work that timers or arrivals start at regular times",
  "  may hide from it or be seen too often, by tenths; the threads' own clocks miss nothing of theirs, and see nothing else.",
  "- *kpps* is what went through; where *core %* is below 100, generator and sink were the limit.",
  "- On a machine that does other things too, relays wait for their core between packets and find their caches taken:",
  "  sockets then look dearer than they are. Run it on a quiet one.",
  "- In generic mode and by TCX the program runs behind the making of a socket buffer: it spares the UDP stack, not the",
  "  buffer.",
];

function told(value: number): string {
  return Number.isNaN(value) ? "" : value.toFixed(1);
}

/** `left`: the columns of words. */
function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[],
): readonly string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string =>
    left.includes(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => pad(cell, column)).join(" | ")} |`;
  const rule = widths.map((width, column) => (left.includes(column) ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map((row) => line(row))];
}
