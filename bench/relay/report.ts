import type { Measurement } from "./generator.ts";
import type { Scenario } from "./scenarios.ts";
import { type SubjectName, subjectNames } from "./subjects.ts";

/** All rounds of one scenario, by subject. */
export interface Outcome {
  readonly path: string;
  readonly scenario: Scenario;
  readonly rounds: ReadonlyMap<SubjectName, readonly Measurement[]>;
}

/** The run as a whole. */
export interface Run {
  readonly machine: string;
  readonly versions: string;
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly outcomes: readonly Outcome[];
  /** What `requests.ts` said; empty: not measured. */
  readonly requests: string;
  /** What `allocations.ts` said; empty: not measured. */
  readonly allocations: string;
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

/** One figure of a subject: the median over its rounds. */
export function figure(outcome: Outcome, subject: SubjectName, name: keyof Measurement): number {
  return median((outcome.rounds.get(subject) ?? []).map((round) => round[name]));
}

/** CPU time of `other` for a packet, as a multiple of that of the batched plane: packets per second of CPU, compared. */
export function ratio(outcome: Outcome, other: SubjectName): number {
  return figure(outcome, other, "cpuSecondsPerMillion") / figure(outcome, "batched", "cpuSecondsPerMillion");
}

/** The page for people. */
export function markdown(run: Run): string {
  const lines = [
    "# Performance",
    "",
    "Measured by `npm run bench:relay`, which writes this page. Figures of one machine and one day: compare them within a",
    "table only, and repeat the run where it matters.",
    "",
    `- ${run.machine}; ${run.versions}; ${run.date}`,
    `- Each relay on one core, the load generator on the other, in turns (A B C D, A B C D …): medians of ${run.rounds} rounds of`,
    `  ${run.seconds} s, after a warm-up. Counted where packets arrive.`,
    "- `yardstick` is `bench/relay/yardstick.c`: the least that a C program over batched sockets must do, with hard-wired",
    "  channels and no TURN. `coturn` runs with one relay thread. `portable` is `node:dgram`, on any platform, and slow.",
    "- The ratios compare packets for a second of the relay's CPU time (its process, all threads): what a core can carry",
    "  when it is full, whatever else the machine is doing.",
    "",
    "![Packets for a second of CPU time, as a multiple of coturn's](performance.svg)",
  ];
  for (const path of new Set(run.outcomes.map((outcome) => outcome.path))) {
    lines.push("", `## ${path === "loopback" ? "Loopback" : "Two network namespaces (veth, MTU 1500)"}`);
    for (const outcome of run.outcomes.filter((each) => each.path === path)) lines.push("", ...table(outcome));
  }
  if (run.requests !== "") lines.push("", "## Requests", "", "```text", run.requests, "```");
  if (run.allocations !== "") {
    lines.push("", "## A whole port range of allocations, over four reactors", "", "```text", run.allocations, "```");
  }
  return `${[...lines, "", ...READING].join("\n")}\n`;
}

/** What a reader should know of every run. */
const READING: readonly string[] = [
  "## Reading the figures",
  "",
  "- Where traffic comes in runs (video, one busy flow) the batched plane takes and gives aggregates (UDP_GRO, UDP_SEGMENT):",
  "  one way through the kernel for up to 64 packets. Voice of many flows has no runs: there the plane is as fast as the",
  "  kernel's UDP stack, which takes about three quarters of its time.",
  "- With 256 flows nearly every packet to a peer leaves by a system call of its own, since each flow has its own relay",
  "  socket. Of the relay's time, 77 % is the kernel's, 13 % the engine's and the plane's (the tables of 256 flows don't",
  "  fit the nearest cache), 10 % Node's, koffi's and glibc's way into the call. The last is what a C program is spared.",
  "- A generator that is never idle was the limit itself: the relay then had time left, formed smaller batches, and looks",
  "  dearer for each packet than it is when full.",
  "- At a fixed, low rate no batches form, and the cost of a packet equals that of others. There `coalesceUs` trades",
  "  latency for CPU: at 50,000 packets a second, 100 µs took 27 % less and 200 µs 40 % less of it.",
  "- The data path allocates nothing on the heap: `test/e2e/data-path-garbage.test.ts` holds it to that.",
];

/** The same for a terminal. */
export function table(outcome: Outcome): readonly string[] {
  const rows = subjectNames
    .filter((subject) => outcome.rounds.has(subject))
    .map((subject) => {
      const value = (name: keyof Measurement, digits: number): string => figure(outcome, subject, name).toFixed(digits);
      return [
        subject,
        (figure(outcome, subject, "packetsPerSecond") / 1000).toFixed(0),
        value("lossPercent", 2),
        value("bad", 0),
        value("cpuSecondsPerMillion", 2),
        (figure(outcome, "coturn", "cpuSecondsPerMillion") / figure(outcome, subject, "cpuSecondsPerMillion")).toFixed(
          2,
        ),
        (
          figure(outcome, "yardstick", "cpuSecondsPerMillion") / figure(outcome, subject, "cpuSecondsPerMillion")
        ).toFixed(2),
        value("p50Us", 0),
        value("p99Us", 0),
        value("generatorIdlePercent", 0),
      ];
    });
  const head = [
    "relay",
    "kpps",
    "loss %",
    "bad",
    "CPU s/Mpkt",
    "× coturn",
    "× yardstick",
    "p50 µs",
    "p99 µs",
    "generator idle %",
  ];
  const widths = head.map((text, column) => Math.max(text.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(" | ")} |`;
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [`**${outcome.scenario.title}**`, "", line(head), line(rule), ...rows.map(line)];
}

const COLOURS: Readonly<Record<SubjectName, string>> = {
  coturn: "#8a8f98",
  yardstick: "#c9a227",
  portable: "#7aa6c2",
  batched: "#2f6f4f",
  kernel: "#77aa33",
};

/** Bars: packets for a second of CPU time, as a multiple of coturn's. */
export function plot(run: Run): string {
  const bar = 14;
  const group = subjectNames.length * bar + 26;
  const left = 330;
  const scale = 150;
  const height = 50 + run.outcomes.length * group;
  const width = left + 560;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
  ];
  for (const [index, subject] of subjectNames.entries()) {
    parts.push(
      `<rect x="${left + index * 110}" y="14" width="12" height="12" fill="${COLOURS[subject]}"/>`,
      `<text x="${left + index * 110 + 18}" y="24" fill="#222222">${subject}</text>`,
    );
  }
  parts.push(`<line x1="${left + scale}" y1="36" x2="${left + scale}" y2="${height}" stroke="#dddddd"/>`);
  for (const [index, outcome] of run.outcomes.entries()) {
    const top = 50 + index * group;
    parts.push(
      `<text x="${left - 10}" y="${top + 26}" text-anchor="end" fill="#222222">${outcome.scenario.title}</text>`,
      `<text x="${left - 10}" y="${top + 42}" text-anchor="end" fill="#777777">${outcome.path}</text>`,
    );
    for (const [row, subject] of subjectNames.entries()) {
      if (!outcome.rounds.has(subject)) continue;
      const value =
        figure(outcome, "coturn", "cpuSecondsPerMillion") / figure(outcome, subject, "cpuSecondsPerMillion");
      const length = Math.max(1, Math.min(540, value * scale));
      const y = top + row * bar;
      parts.push(
        `<rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="${bar - 2}" fill="${COLOURS[subject]}"/>`,
        `<text x="${(left + length + 5).toFixed(1)}" y="${y + 10}" font-size="10" fill="#444444">${value.toFixed(2)}×</text>`,
      );
    }
  }
  return `${parts.join("\n")}\n</svg>\n`;
}
