import { figure, type Outcome, ratio, type Run } from "./report.ts";
import type { Measurement } from "./generator.ts";
import type { SubjectName } from "./subjects.ts";

/** What was aimed at, and how a run is held to it. */
interface Goal {
  readonly what: string;
  readonly wanted: string;
  /** By the figures of a run; undefined: not measured. */
  readonly reached: (run: Run) => Reached | undefined;
  /** Said where it is missed. */
  readonly why: string;
}

interface Reached {
  readonly text: string;
  readonly isMet: boolean;
}

type Path = Outcome["path"];

/** Where the facts are from that are told where a goal is missed. */
const PROFILES = "[The profiles](performance/profiles.md)";

const VOICE = ["voice-32-up", "voice-32-down", "voice-256-up", "voice-256-down"];
const VOICE_AND_BURSTS = /^(?:voice|bursts)-/;

const GOALS: readonly Goal[] = [
  ...(["loopback", "namespaces"] as const).flatMap((path): Goal[] => [
    {
      what: `batched, voice of 32 and 256 flows, ${path}`,
      wanted: "≥ 1.15× coturn",
      reached: (run) => ratios(run, { path, against: "coturn", ids: VOICE, least: 1.15 }),
      why: `${PROFILES}: the kernel takes more than four fifths of a packet, of ours as of coturn's, and with 256 flows each packet to a peer takes a system call of its own; what isn't the kernel's is 0.3 to 0.4 µs, of coturn's 0.2 to 0.45.`,
    },
    {
      what: `batched, voice of 32 and 256 flows, ${path}`,
      wanted: "≥ 0.95× the yardstick in C",
      reached: (run) => ratios(run, { path, against: "yardstick", ids: VOICE, least: 0.95 }),
      why: `${PROFILES}: with 256 flows to the peer what isn't the kernel's is 0.4 µs a packet, the yardstick's 0.1: half of it is the two rooms' (look-ups, permissions, counters, timers), the rest Node's, koffi's and the C library's way into a call for each packet.`,
    },
    {
      what: `batched, bursts of 1 and 32 flows, ${path}`,
      wanted: "≥ 2.0× coturn",
      reached: (run) => {
        const ids = ["bursts-1-up", "bursts-1-down", "bursts-32-up", "bursts-32-down"];
        return ratios(run, { path, against: "coturn", ids, least: 2 });
      },
      why: "An aggregate holds neighbouring packets of one flow only; where other flows come between, or a turn of the loop ends, it ends.",
    },
  ]),
  {
    what: "portable, all of voice and bursts, loopback",
    wanted: "≥ 0.40× coturn",
    reached: (run) => portable(run, 0.4),
    why: `${PROFILES}: 2.6 to 2.9 µs of a packet are the kernel's, of coturn's 2.1 to 2.7; 1.7 µs is Node's and V8's, 0.7 to 1.0 µs the C library's, which allocates 64 KiB for each datagram; ours is 0.2 to 0.3 µs.`,
  },
  {
    what: "99th percentile of latency at 50,000 packets a second, loopback",
    wanted: "≤ coturn's",
    reached: (run) => latency(run),
    why: "On a machine whose cores others use too it is a few delays of the scheduler that make it; see the medians.",
  },
  {
    what: "challenge, Allocate, Refresh, CreatePermission per second of CPU",
    wanted: "≥ 2× coturn",
    reached: (run) => {
      const found = numbers(run.said.get("requests"), /ratio by CPU time: ([\d.]+)/g);
      return found.length === 0 ? undefined : range(found, (least) => least >= 2);
    },
    why: `${PROFILES}: of a Refresh or CreatePermission the kernel takes 3 µs (of coturn's 9 to 11), our rooms 3, cryptography 1.4, other work of Node and V8 1.5, garbage collection and compilers on all threads 2. An Allocate adds the making of the relay socket, and the objects of an allocation: garbage, and work of Node and V8. A Refresh 0 takes 2.7 µs to end the socket, of coturn's 0.4 within the same time, which is most of the difference to a Refresh. The challenge meets it.`,
  },
  {
    what: "each of two reactors: system calls and CPU per packet, beside one with which it shares nothing but the core",
    wanted: "within 5 %",
    reached: (run) => {
      const text = run.said.get("systemCalls");
      const found = [
        ...numbers(text, /of two reactors .* ([\d.]+) and/g),
        ...numbers(text, /of two reactors .* and ([\d.]+)/g),
      ];
      // Less is no miss.
      return found.length === 0 ? undefined : range(found, (_, most) => most <= 1.05);
    },
    why: "CPU time differs by some percent from process to process; `test/e2e/reactors-share-nothing.test.ts` shows what is shared.",
  },
  {
    what: "resident memory of an idle UDP allocation, by the slope",
    wanted: "≤ 4 KiB",
    reached: (run) => {
      const [bytes] = numbers(run.said.get("allocations"), /(\d+) bytes by the slope/g);
      return bytes === undefined ? undefined : { text: `${(bytes / 1024).toFixed(1)} KiB`, isMet: bytes <= 4096 };
    },
    why: "JavaScript objects of the engine, and 0.8 KiB of the main thread's admission; heaps grow in pages, so that the slope is known to some percent only.",
  },
  {
    what: "resident memory that 16,384 allocations add to a relay of four threads",
    wanted: "< 150 MiB",
    reached: (run) => {
      const text = run.said.get("allocations");
      const [start] = numbers(text, /([\d.]+) MiB at the start/g);
      const [full] = numbers(text, /([\d.]+) with 16384/g);
      if (start === undefined || full === undefined) return undefined;
      return {
        text: `${(full - start).toFixed(0)} MiB, over ${start.toFixed(0)} MiB at the start`,
        isMet: full - start < 150,
      };
    },
    why: "Each thread's JavaScript heap grows ahead of what lives in it.",
  },
  {
    what: "start of the process to the first allocation",
    wanted: "< 0.5 s",
    reached: (run) => {
      const [seconds] = numbers(run.said.get("start"), /earlier start +([\d.]+) s/g);
      return seconds === undefined ? undefined : { text: `${seconds.toFixed(2)} s`, isMet: seconds < 0.5 };
    },
    why: "Most of it is the loading of modules, on the main thread and on each reactor's.",
  },
];

/** A row for each goal that was measured, and a sentence for each that was missed. */
export function goalsTable(run: Run): readonly string[] {
  const missed: string[] = [];
  const rows = GOALS.flatMap(({ what, wanted, reached, why }) => {
    const found = reached(run);
    if (found === undefined) return [];
    if (!found.isMet) missed.push(`- **${what}, ${wanted}**: ${found.text}. ${why}`);
    return [`| ${what} | ${wanted} | ${found.text} | ${found.isMet ? "yes" : "no"} |`];
  });
  return [
    "| what | goal | reached | met |",
    "| --- | --- | --- | --- |",
    ...rows,
    ...(missed.length === 0 ? [] : ["", "Missed:", "", ...missed]),
  ];
}

/** Of the batched plane, by CPU time. */
function ratios(
  run: Run,
  options: {
    readonly path: Path;
    readonly against: SubjectName;
    readonly ids: readonly string[];
    readonly least: number;
  },
): Reached | undefined {
  const { path, against, ids, least } = options;
  const found = run.outcomes
    .filter((outcome) => outcome.path === path && ids.includes(outcome.scenario.id))
    .map((outcome) => ratio(outcome, against))
    .filter(Number.isFinite);
  return found.length === 0 ? undefined : range(found, (lowest) => lowest >= least);
}

function portable(run: Run, least: number): Reached | undefined {
  const cost: keyof Measurement = "cpuSecondsPerMillion";
  const found = run.outcomes
    .filter(({ path, scenario }) => path === "loopback" && VOICE_AND_BURSTS.test(scenario.id))
    .map((outcome) => figure(outcome, "coturn", cost) / figure(outcome, "portable", cost))
    .filter(Number.isFinite);
  return found.length === 0 ? undefined : range(found, (lowest) => lowest >= least);
}

function latency(run: Run): Reached | undefined {
  const outcome = run.outcomes.find(({ path, scenario }) => path === "loopback" && scenario.id === "rate-50k");
  if (outcome === undefined) return undefined;
  const us = (name: SubjectName, quantile: "p50Us" | "p99Us"): number => figure(outcome, name, quantile);
  const said = (name: SubjectName): string =>
    `${us(name, "p99Us").toFixed(0)} µs (median ${us(name, "p50Us").toFixed(0)})`;
  return {
    text: `${said("batched")}; coturn ${said("coturn")}`,
    isMet: us("batched", "p99Us") <= us("coturn", "p99Us"),
  };
}

function range(found: readonly number[], isMet: (least: number, most: number) => boolean): Reached {
  const [least, most] = [Math.min(...found), Math.max(...found)];
  return { text: `${least.toFixed(2)}× to ${most.toFixed(2)}×`, isMet: isMet(least, most) };
}

function numbers(text: string | undefined, pattern: RegExp): readonly number[] {
  return [...(text ?? "").matchAll(pattern)].map(([, value]) => Number(value));
}
