// `npm run bench:system-calls`: what a packet costs a reactor beside another one of the same relay, and beside one of
// another relay, with which it has nothing in common but the core: system calls of its data path, and CPU time. Each
// handles the same bursts in turns (burst-generator.ts). All run on one core, so that what differs is what they share.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type BatchedRelay, type Libc, loadLibc, type PlaneCounters, startBatchedRelay } from "@turnpike/relay";
import type { BurstOrder, BurstReply } from "./burst-generator.ts";
import { median } from "./report.ts";

const IP = "127.0.0.1";
const PORTS = { together: 23_491, first: 23_492, second: 23_493 } as const;
/** Opened on each port, of which each reactor is given the same number: which flow falls to which is the kernel's choice. */
const FLOWS = 160;
const BURST = 48;
const ROUNDS = 15;
const TURNS = 150;
const CORE = "1";
const TICK_US = 10_000;
const generator = fileURLToPath(new URL("burst-generator.ts", import.meta.url));

/** A reactor, its thread, and its flows. */
interface Subject {
  readonly counters: PlaneCounters;
  readonly thread: string;
  readonly flows: readonly number[];
}

/** Of one reactor over one round. */
interface Cost {
  readonly calls: number;
  readonly cpuUs: number;
  readonly userUs: number;
}

const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
// Threads of this process, which reactors are, run where it does.
execFileSync("taskset", ["-a", "-c", "-p", CORE, String(process.pid)], { stdio: "ignore" });
const relays = [
  await start(libc, PORTS.together, 2),
  await start(libc, PORTS.first, 1),
  await start(libc, PORTS.second, 1),
];
const child = spawn(
  "taskset",
  [
    "-c",
    CORE,
    "chrt",
    "-f",
    "10",
    process.execPath,
    "--conditions=@turnpike/source",
    generator,
    IP,
    Object.values(PORTS).join(","),
    String(FLOWS),
  ],
  { stdio: ["ignore", "inherit", "inherit", "ipc"] },
);
const ended = once(child, "exit");
await reply();
const [one, other, apart, beside] = await findSubjects(
  relays.flatMap(({ reactors }) => reactors.map(({ counters }) => counters)),
);
if (one === undefined || other === undefined || apart === undefined || beside === undefined)
  throw new Error("No reactor");
const settings: readonly {
  readonly names: readonly string[];
  readonly group: readonly Subject[];
  readonly costs: Cost[][];
}[] = [
  { names: ["alone"], group: [apart], costs: [[]] },
  { names: ["one relay of two", "another relay of two"], group: [apart, beside], costs: [[], []] },
  { names: ["first of two reactors", "second of two reactors"], group: [one, other], costs: [[], []] },
];
// The first round is not counted.
for (let round = 0; round <= ROUNDS; round++) {
  for (const { group, costs } of settings) {
    for (const [index, cost] of (await costsOf(group)).entries()) if (round > 0) costs[index]?.push(cost);
  }
}
child.send({ groups: [], turns: 0 } satisfies BurstOrder);
await ended;
for (const relay of relays) await relay.stop();

console.log(
  `bursts of ${BURST} packets of voice to the peer, to each in turns, on one core; medians of ${ROUNDS} rounds`,
);
console.log("                        system calls    CPU, µs a packet   of it in user     against a relay");
console.log("                            a packet                       mode, by ticks    of its own");
const [, ofItsOwn] = settings;
for (const { names, costs } of settings) {
  for (const [index, name] of names.entries()) {
    const [found, base] = [costs[index] ?? [], ofItsOwn?.costs[index] ?? []];
    const calls = median(found.map((cost) => cost.calls));
    const cpuUs = median(found.map((cost) => cost.cpuUs));
    const userUs = found.reduce((sum, cost) => sum + cost.userUs, 0) / found.length;
    const against = (figure: "calls" | "cpuUs"): string =>
      median(found.map((cost, round) => cost[figure] / (base[round]?.[figure] ?? 0))).toFixed(3);
    console.log(
      `${name.padEnd(24)}${calls.toFixed(3).padStart(12)}${cpuUs.toFixed(3).padStart(20)}${userUs.toFixed(2).padStart(17)}     ${against("calls")} and ${against("cpuUs")}`,
    );
  }
}

async function start(found: Libc, port: number, threads: number): Promise<BatchedRelay> {
  const user = { username: "u", realm: "r", password: "p" };
  return startBatchedRelay({
    libc: found,
    threads,
    listen: [`udp:${IP}:${port}`],
    relayAddresses: [IP],
    realm: user.realm,
    peers: { allow: ["127.0.0.0/8"] },
    authenticate: { module: new URL("authenticate.ts", import.meta.url).href, data: () => user },
    // All clients have one address here: each needs a challenge of its own all the same.
    engine: { unauthenticatedBytesPerSecond: 1e9 },
  });
}

/** Each reactor's flows and thread: those that have work when a flow has a packet. */
async function findSubjects(all: readonly PlaneCounters[]): Promise<readonly Subject[]> {
  const flows: number[][] = all.map(() => []);
  for (let flow = 0; flow < FLOWS * relays.length; flow++) {
    const before = all.map((counters) => counters.snapshot().packetsFromClients);
    await send({ groups: [[flow]], turns: 1 });
    const reactor = all.findIndex((counters, index) => counters.snapshot().packetsFromClients !== before[index]);
    flows[reactor]?.push(flow);
  }
  const subjects: Subject[] = [];
  for (const [index, counters] of all.entries()) {
    const own = (flows[index] ?? []).slice(0, BURST);
    if (own.length < BURST) throw new Error(`Only ${own.length} flows fell to a reactor: run it again`);
    const before = cpuTimes();
    await send({ groups: [own], turns: TURNS });
    const [thread = ""] = [...cpuTimes()]
      .filter(([id]) => id !== String(process.pid))
      .toSorted(([a, x], [b, y]) => y.cpuUs - (before.get(b)?.cpuUs ?? 0) - x.cpuUs + (before.get(a)?.cpuUs ?? 0))
      .map(([id]) => id);
    subjects.push({ counters, thread, flows: own });
  }
  return subjects;
}

async function costsOf(group: readonly Subject[]): Promise<readonly Cost[]> {
  const countersBefore = group.map(({ counters }) => counters.snapshot());
  const before = cpuTimes();
  await send({ groups: group.map(({ flows }) => flows), turns: TURNS });
  const after = cpuTimes();
  return group.map(({ counters, thread }, index) => {
    const now = counters.snapshot();
    const packets = now.packetsFromClients - (countersBefore[index]?.packetsFromClients ?? 0);
    const spent = (kind: "cpuUs" | "userUs"): number =>
      ((after.get(thread)?.[kind] ?? 0) - (before.get(thread)?.[kind] ?? 0)) / packets;
    const calls = (now.systemCalls - (countersBefore[index]?.systemCalls ?? 0)) / packets;
    return { calls, cpuUs: spent("cpuUs"), userUs: spent("userUs") };
  });
}

async function send(order: BurstOrder): Promise<void> {
  child.send(order);
  const { lost } = await reply();
  if (lost > 0) throw new Error(`${lost} packets were lost`);
}

async function reply(): Promise<BurstReply> {
  const told = once(child, "message").then(([message]: BurstReply[]) => message);
  const message = await Promise.race([told, ended.then(() => undefined)]);
  if (message === undefined) {
    throw new Error("The generator ended; it must be allowed to run before the relays (CAP_SYS_NICE)");
  }
  return message;
}

/** CPU time of each thread of this process, and, by the kernel's ticks, that in user mode. */
function cpuTimes(): Map<string, { readonly cpuUs: number; readonly userUs: number }> {
  return new Map(
    readdirSync("/proc/self/task").map((thread) => {
      const [cpuNs] = readFileSync(`/proc/self/task/${thread}/schedstat`, "utf8").split(" ");
      const text = readFileSync(`/proc/self/task/${thread}/stat`, "utf8");
      // The name, in parentheses, may have spaces; utime is the twelfth field after it.
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      return [thread, { cpuUs: Number(cpuNs) / 1000, userUs: Number(fields[11]) * TICK_US }];
    }),
  );
}
