// `npm run bench:kernel -- [--seconds S] [--rounds N] [--flows 1,32,256]`: coturn, the batched plane and the kernel plane
// beside each other, by packets for each second that the relay's core was busy: with the process, and with the kernel's
// thread that receives for it (threaded NAPI), so that all work on a packet has an owner.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startChild } from "../../test/support/child.ts";
import type { Load, Measurement } from "./generator.ts";
import { namespaces, type Path } from "./places.ts";
import { prepare, startSubject, type Subject, type SubjectName } from "./subjects.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "3" },
    flows: { type: "string", default: "1,32,256" },
    subjects: { type: "string", default: "coturn,batched,kernel" },
  },
});
const WARM_SECONDS = 0.5;
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const { yardstick, blaster } = prepare();
const seconds = Number(values.seconds);
const subjects: readonly SubjectName[] = (["coturn", "batched", "kernel"] as const).filter((name) =>
  values.subjects.split(",").includes(name),
);

console.log("flows direction  subject  kpps  lost %  busy µs/packet  kpps of a busy core");
for (const flows of values.flows.split(",").map(Number)) {
  for (const direction of ["to peer", "to client"] as const) {
    for (const name of subjects) {
      const path = namespaces();
      const stops: (() => Promise<unknown>)[] = [];
      try {
        const receiver = arrange(path);
        const pass = startChild(enter(path.generator.enter, "../../test/interop/support/xdp-pass-process.ts", "veth0"));
        stops.push(() => pass.stop());
        await pass.waitFor((child) => child.stdout().includes("ready"), 20_000);
        const subject = await startSubject(name, path.relay, yardstick);
        stops.push(() => subject.stop());
        const results = Array.from({ length: Number(values.rounds) }, () =>
          measure(path, subject, receiver, { flows, direction }),
        );
        const { measurement, busyUs } = results.toSorted((a, b) => a.busyUs - b.busyUs)[results.length >> 1] ?? fail();
        const { packetsPerSecond, lossPercent } = measurement;
        console.log(
          [
            String(flows).padStart(5),
            direction.padEnd(10),
            name.padEnd(8),
            (packetsPerSecond / 1000).toFixed(0).padStart(4),
            lossPercent.toFixed(1).padStart(6),
            busyUs.toFixed(2).padStart(10),
            (1000 / busyUs).toFixed(0).padStart(12),
          ].join(" "),
        );
      } finally {
        for (const stop of stops.toReversed()) await stop();
        path.remove();
      }
    }
  }
}

/**
 * Checksums are finished, and each interface has a thread of its own, on its place's core: what one end sends costs the
 * other end nothing, as over a wire. The relay's thread.
 */
function arrange(path: Path): number {
  let receiver = 0;
  for (const { enter: words, core } of [path.generator, path.relay]) {
    const here = (...told: readonly string[]): void => {
      const [command = "", ...rest] = [...words, ...told];
      execFileSync(command, rest, { stdio: "ignore" });
    };
    here("ethtool", "-K", "veth0", "tx", "off", "gro", "on");
    const before = new Set(receivers());
    const settings = "/sys/class/net/veth0";
    here("sh", "-c", `echo 0 > ${settings}/queues/rx-0/rps_cpus; echo 1 > ${settings}/threaded`);
    receiver = receivers().find((id) => !before.has(id)) ?? fail();
    execFileSync("taskset", ["-p", "-c", String(core), String(receiver)], { stdio: "ignore" });
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

function measure(
  path: Path,
  subject: Subject,
  receiver: number,
  traffic: Pick<Load, "flows" | "direction">,
): { readonly measurement: Measurement; readonly busyUs: number } {
  const load: Load = {
    ...traffic,
    size: 172,
    burst: 1,
    rate: 0,
    protocol: subject.protocol,
    server: path.relay.ip,
    serverPort: subject.port,
    own: path.generator.ip,
    warmSeconds: WARM_SECONDS,
    seconds,
    pid: subject.pid,
    blaster,
  };
  const { command, args } = enter(
    [...path.generator.enter, "taskset", "-c", String(path.generator.core)],
    "generator.ts",
  );
  const before = busyNs(subject.pid) + busyNs(receiver);
  const measurement: Measurement = JSON.parse(
    execFileSync(command, [...args, JSON.stringify(load)], { encoding: "utf8" }),
  );
  const busy = busyNs(subject.pid) + busyNs(receiver) - before;
  return { measurement, busyUs: busy / 1000 / (measurement.packetsPerSecond * (seconds + WARM_SECONDS)) };
}

/** Time on a core, of all threads of a process. */
function busyNs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]))
    .reduce((sum, each) => sum + each, 0);
}

function enter(
  words: readonly string[],
  script: string,
  ...rest: readonly string[]
): { command: string; args: string[] } {
  const [command = "", ...args] = [...words, process.execPath, "--conditions=@turnpike/source", file(script), ...rest];
  return { command, args };
}

function fail(): never {
  throw new Error("The machine has no threaded NAPI, or nothing was measured");
}
