import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { FrameCount, FrameLoad } from "./frames.ts";
import type { Load, Measurement } from "./generator.ts";
import { kernelPlace, type KernelPlace, NICE, run } from "./kernel-place.ts";
import { startSubject, type Subject, type SubjectName } from "./subjects.ts";

/**
 * Where packets come from: frames made within the kernel, as a card's driver hands them over, or the sockets of
 * `blaster.c` at the other end of the veth pair.
 */
export const generators = ["frames", "sockets"] as const;
export type GeneratorName = (typeof generators)[number];

/** What is sent, and through what. */
export interface Figure {
  readonly generator: GeneratorName;
  readonly flows: number;
  readonly direction: Load["direction"];
  readonly subject: SubjectName;
}

/** One relay under one load: the round in the middle, by the work of its core. */
export interface Row extends Figure {
  readonly packetsPerSecond: number;
  readonly lossPercent: number;
  /** Of the relay's core, by `/proc/stat`: user, nice, system, irq and softirq, whoever's. */
  readonly busyPercent: number;
  readonly stealPercent: number;
  /** Of the relay's process and the kernel's thread that receives for it, by their own clocks. */
  readonly threadPercent: number;
}

/** How long it is measured, and what with. */
export interface FigureOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly blaster: string;
  readonly yardstick: string;
}

const WARM_SECONDS = 0.3;
/** Percent of the relay's core: a round in which others did more there is measured again. */
const MOST_FOREIGN = 15;
const SIZE = 172;
const PASSING = fileURLToPath(new URL("../../test/interop/support/xdp-pass-process.ts", import.meta.url));
const FROM_SOURCE = [process.execPath, "--conditions=@turnpike/source"];

/** Core time for each packet, in µs: what relays are compared by. */
export function cost({ busyPercent, packetsPerSecond }: Row): number {
  return (busyPercent * 1e4) / Math.max(1, packetsPerSecond);
}

/** The same by the threads' own clocks. */
export function threadCost({ threadPercent, packetsPerSecond }: Row): number {
  return (threadPercent * 1e4) / Math.max(1, packetsPerSecond);
}

/** Whether others worked on the relay's core so much that the figure says little of the relay. */
export function isDisturbed({ busyPercent, threadPercent }: Row): boolean {
  return busyPercent - threadPercent >= MOST_FOREIGN;
}

/** Each subject in namespaces of its own, as its program stays on an interface. */
export async function measure(figure: Figure, options: FigureOptions): Promise<Row> {
  const place = kernelPlace();
  let subject: Subject | undefined;
  let stopPassing: (() => void) | undefined;
  try {
    // veth wakes a receiver of what XDP sends natively only if that has an XDP program too.
    if (figure.generator === "sockets" && figure.subject === "native") stopPassing = await startPassing(place);
    const preferred = [...place.relay.enter, "nice", "-n", NICE];
    subject = await startSubject(figure.subject, { ...place.relay, enter: preferred }, options.yardstick);
    const rows: Row[] = [];
    const undisturbed = (): readonly Row[] => rows.filter((row) => !isDisturbed(row));
    while (undisturbed().length < options.rounds && rows.length < 3 * options.rounds) {
      if (figure.generator === "frames") rows.push(...byFrames(figure, place, subject, options));
      else rows.push(bySockets(figure, place, subject, options));
    }
    const used = undisturbed().length > 0 ? undisturbed() : rows;
    const middle = used.toSorted((a, b) => cost(a) - cost(b))[used.length >> 1];
    if (middle === undefined || middle.packetsPerSecond === 0) throw new Error(`${figure.subject} relayed nothing`);
    return middle;
  } finally {
    await subject?.stop();
    stopPassing?.();
    place.remove();
  }
}

/** An XDP program on the generator's interface that lets everything pass; how to end it. */
async function startPassing({ generator }: KernelPlace): Promise<() => void> {
  const words: readonly string[] = [...generator.enter, ...FROM_SOURCE, PASSING, "veth0"];
  const [command = "", ...args] = words;
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const said: unknown[] = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  if (child.exitCode !== null) throw new Error(`No XDP program at the generator: ${String(said[0])}`);
  return () => child.kill("SIGKILL");
}

function byFrames(figure: Figure, place: KernelPlace, subject: Subject, options: FigureOptions): Row[] {
  const load: FrameLoad = {
    ...loadOf(figure, place, subject, options),
    interface: "veth0",
    rounds: options.rounds,
    busy: [subject.pid, place.receiver],
    core: place.relay.core,
  };
  const counts: readonly FrameCount[] = JSON.parse(generate(place, "frames.ts", load));
  return counts.map(({ sent, received, seconds, threadSeconds, busySeconds, stealSeconds }) => ({
    ...figure,
    packetsPerSecond: received / seconds,
    lossPercent: Math.max(0, (100 * (sent - received)) / Math.max(1, sent)),
    busyPercent: (100 * busySeconds) / seconds,
    stealPercent: (100 * stealSeconds) / seconds,
    threadPercent: (100 * threadSeconds) / seconds,
  }));
}

function bySockets(figure: Figure, place: KernelPlace, subject: Subject, options: FigureOptions): Row {
  const load: Load = {
    ...loadOf(figure, place, subject, options),
    burst: 1,
    rate: 0,
    pid: subject.pid,
    threads: [place.receiver],
    core: place.relay.core,
    blaster: options.blaster,
  };
  const measured: Measurement = JSON.parse(generate(place, "generator.ts", load));
  if (measured.bad > 0) throw new Error(`${figure.subject} changed ${measured.bad} packets`);
  return {
    ...figure,
    packetsPerSecond: measured.packetsPerSecond,
    lossPercent: measured.lossPercent,
    busyPercent: measured.coreBusyPercent,
    stealPercent: measured.coreStealPercent,
    threadPercent: (measured.cpuSecondsPerMillion * measured.packetsPerSecond) / 1e4,
  };
}

function loadOf(
  { flows, direction }: Figure,
  place: KernelPlace,
  { protocol, port }: Subject,
  { seconds }: FigureOptions,
): Pick<FrameLoad, "flows" | "direction" | "size" | "protocol" | "server" | "serverPort" | "own"> & {
  readonly warmSeconds: number;
  readonly seconds: number;
} {
  return {
    flows,
    direction,
    size: SIZE,
    protocol,
    server: place.relay.ip,
    serverPort: port,
    own: place.generator.ip,
    warmSeconds: WARM_SECONDS,
    seconds,
  };
}

/** On the generator's core, with what sinks there. */
function generate({ generator }: KernelPlace, file: string, load: FrameLoad | Load): string {
  const script = fileURLToPath(new URL(file, import.meta.url));
  const where = ["nice", "-n", NICE, "taskset", "-c", String(generator.core)];
  return run(generator.enter, ...where, ...FROM_SOURCE, script, JSON.stringify(load));
}
