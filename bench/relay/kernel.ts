// `npm run bench:kernel -- [--seconds S] [--rounds N] [--flows 1,32,256] [--subjects …] [--write]`: coturn, the batched
// plane and the kernel plane beside each other, by packets for each second that the relay's core was busy with them: its
// process, and the kernel's thread that receives for it (threaded NAPI), so that all work on a packet has an owner, and
// what else the machine does counts for nobody. `--write` makes docs/performance/kernel.md.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { FrameCount, FrameLoad } from "./frames.ts";
import { page, type Row, rowText, TITLE } from "./kernel-report.ts";
import { namespaces, type Path } from "./places.ts";
import { prepare, startSubject, type SubjectName } from "./subjects.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
    flows: { type: "string", default: "1,32,256" },
    subjects: { type: "string", default: "coturn,batched,kernel" },
    write: { type: "boolean", default: false },
  },
});
const WARM_SECONDS = 0.3;
/** What is measured goes before most of what else the machine does. */
const NICE = "-20";
const TIMEOUT_MS = 60_000;
const { yardstick, coturnVersion } = prepare();
const subjects: readonly SubjectName[] = (["coturn", "batched", "kernel"] as const).filter((name) =>
  values.subjects.split(",").includes(name),
);
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

console.log(TITLE);
const rows: Row[] = [];
for (const flows of values.flows.split(",").map(Number)) {
  for (const direction of ["to peer", "to client"] as const) {
    for (const subject of subjects) {
      const row = await measure({ flows, direction, subject });
      rows.push(row);
      console.log(rowText(row));
    }
  }
}
if (values.write) {
  const text = page({
    machine: `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Linux ${release()}`,
    versions: `Node ${process.version}, coturn ${coturnVersion}`,
    date: new Date().toISOString().slice(0, 10),
    rounds,
    seconds,
    rows,
  });
  writeFileSync(new URL("../../docs/performance/kernel.md", import.meta.url), text);
}

/** Each subject in namespaces of its own, as its program stays on an interface. */
async function measure(options: {
  readonly flows: number;
  readonly direction: FrameLoad["direction"];
  readonly subject: SubjectName;
}): Promise<Row> {
  const path = namespaces();
  let subject: Awaited<ReturnType<typeof startSubject>> | undefined;
  try {
    const receiver = arrange(path);
    const preferred = [...path.relay.enter, "nice", "-n", NICE];
    subject = await startSubject(options.subject, { ...path.relay, enter: preferred }, yardstick);
    const load: FrameLoad = {
      flows: options.flows,
      direction: options.direction,
      size: 172,
      protocol: subject.protocol,
      server: path.relay.ip,
      serverPort: subject.port,
      own: path.generator.ip,
      interface: "veth0",
      warmSeconds: WARM_SECONDS,
      seconds,
      rounds,
      busy: [subject.pid, receiver],
    };
    const script = fileURLToPath(new URL("frames.ts", import.meta.url));
    const generator = [process.execPath, "--conditions=@turnpike/source", script, JSON.stringify(load)];
    const counts: readonly FrameCount[] = JSON.parse(
      run(path.generator.enter, "nice", "-n", NICE, "taskset", "-c", String(path.generator.core), ...generator),
    );
    const cost = (each: FrameCount): number => each.busyNs / Math.max(1, each.received);
    const middle = counts.toSorted((a, b) => cost(a) - cost(b))[counts.length >> 1];
    if (middle === undefined || middle.received === 0) throw new Error(`${options.subject} relayed nothing`);
    return { ...options, ...middle };
  } finally {
    await subject?.stop();
    path.remove();
  }
}

/**
 * Checksums are finished, and each interface has a thread of its own, on its place's core: what one end sends costs the
 * other end nothing, as over a wire. The relay's thread.
 */
function arrange(path: Path): number {
  let receiver = 0;
  for (const { enter, core } of [path.generator, path.relay]) {
    run(enter, "ethtool", "-K", "veth0", "tx", "off", "gro", "on");
    const before = new Set(receivers());
    const settings = "/sys/class/net/veth0";
    run(enter, "sh", "-c", `echo 0 > ${settings}/queues/rx-0/rps_cpus; echo 1 > ${settings}/threaded`);
    const fresh = receivers().find((id) => !before.has(id));
    if (fresh === undefined) throw new Error("The machine has no threaded NAPI");
    receiver = fresh;
    run([], "taskset", "-p", "-c", String(core), String(receiver));
    // What arrives at the generator is counted at once, however busy it is with sending.
    if (core === path.generator.core) run([], "chrt", "--fifo", "--pid", "1", String(receiver));
    else run([], "renice", "-n", NICE, "-p", String(receiver));
  }
  return receiver;
}

/** Threads that receive for interfaces of that name. */
function receivers(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && commandOf(name).startsWith("napi/veth0-"))
    .map(Number);
}

function commandOf(id: string): string {
  try {
    return readFileSync(`/proc/${id}/comm`, "utf8");
  } catch {
    return "";
  }
}

function run(enter: readonly string[], ...words: readonly string[]): string {
  const [command = "", ...args] = [...enter, ...words];
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: TIMEOUT_MS });
}
