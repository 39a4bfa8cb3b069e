import type { Measurement } from "./generator.ts";
import type { Scenario } from "./scenarios.ts";
import { type OtherPart, otherParts } from "./other-parts.ts";
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
  /** What other measurements said; absent: not measured. */
  readonly said: ReadonlyMap<OtherPart["id"], string>;
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

/** The page for people, with the table of goals and, at its end, what was written by hand. */
export function markdown(run: Run, parts: { readonly goals: readonly string[]; readonly reading: string }): string {
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
    "## Goals and what was reached",
    "",
    ...parts.goals,
    "",
    "![Packets for a second of CPU time, as a multiple of coturn's](performance.svg)",
  ];
  for (const path of new Set(run.outcomes.map((outcome) => outcome.path))) {
    lines.push("", `## ${path === "loopback" ? "Loopback" : "Two network namespaces (veth, MTU 1500)"}`);
    for (const outcome of run.outcomes.filter((each) => each.path === path)) lines.push("", ...table(outcome));
  }
  for (const { id, title } of otherParts) {
    const text = run.said.get(id);
    if (text !== undefined) lines.push("", `## ${title}`, "", "```text", text, "```");
  }
  return `${lines.join("\n")}\n\n${parts.reading}`;
}

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
