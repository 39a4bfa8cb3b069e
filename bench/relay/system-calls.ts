// `npm run bench:system-calls`: what a packet costs one reactor alone, and each of two beside each other: system calls of
// its data path, and CPU time in user mode. Voice to the peer, as much of it under way for each reactor.
import { execFile, execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { type BatchedRelay, type Libc, loadLibc, startBatchedRelay } from "@turnpike/relay";
import type { Load } from "./generator.ts";
import { median } from "./report.ts";
import { prepare } from "./subjects.ts";

// So many that a batch seldom has two packets of one flow: else the calls would follow how flows fall to reactors.
const FLOWS = 128;
const WINDOW = 512;
const ROUNDS = 3;
const SECONDS = 1.5;
const [GENERATOR_CORE, RELAY_CORE] = ["0", "1"];
const TICK_NS = 1e7;
const generator = fileURLToPath(new URL("generator.ts", import.meta.url));

/** Of one reactor over one run. */
interface Cost {
  readonly calls: number;
  readonly userNs: number;
  readonly packets: number;
}

const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const { blaster } = prepare();
// Reactors are threads of this process: all on one core, as many as they are.
execFileSync("taskset", ["-a", "-c", "-p", RELAY_CORE, String(process.pid)], { stdio: "ignore" });
const alone = await costsOf(libc, 1);
const two = await costsOf(libc, 2);
const calls = (costs: readonly Cost[]): number => median(costs.map((cost) => cost.calls));
const user = (costs: readonly Cost[]): number => median(costs.map((cost) => cost.userNs));
console.log(
  `voice to the peer, ${FLOWS} flows for each reactor, all reactors on one core; medians of ${ROUNDS} rounds`,
);
console.log("                      system calls a packet    user CPU, µs a packet    against one alone");
for (const [name, costs] of [
  ["one alone", alone[0] ?? []],
  ["first of two", two[0] ?? []],
  ["second of two", two[1] ?? []],
] as const) {
  const against = `${(calls(costs) / calls(alone[0] ?? [])).toFixed(3)} and ${(user(costs) / user(alone[0] ?? [])).toFixed(3)}`;
  const [callsText, userText] = [calls(costs).toFixed(3), (user(costs) / 1000).toFixed(3)];
  console.log(`${name.padEnd(22)}${callsText.padStart(21)}${userText.padStart(25)}${against.padStart(21)}`);
}

/** The costs of all rounds, by reactor. */
async function costsOf(found: Libc, threads: number): Promise<readonly (readonly Cost[])[]> {
  const user = { username: "u", realm: "r", password: "p" };
  const relay = await startBatchedRelay({
    libc: found,
    threads,
    listen: ["udp:127.0.0.1:23491"],
    relayAddresses: ["127.0.0.1"],
    realm: user.realm,
    peers: { allow: ["127.0.0.0/8"] },
    authenticate: { module: new URL("authenticate.ts", import.meta.url).href, data: () => user },
    // All clients have one address here: each needs a challenge of its own all the same.
    engine: { unauthenticatedBytesPerSecond: 1e9 },
  });
  const all: Cost[][] = Array.from({ length: threads }, () => []);
  try {
    // The first run is not counted.
    for (let round = 0; round <= ROUNDS; round++) {
      const costs = await costsOfRun(relay, threads);
      if (round > 0) for (const [index, cost] of costs.entries()) all[index]?.push(cost);
    }
  } finally {
    await relay.stop();
  }
  return all;
}

async function costsOfRun(relay: BatchedRelay, threads: number): Promise<readonly Cost[]> {
  const load: Load = {
    protocol: "turn",
    server: "127.0.0.1",
    serverPort: relay.listening[0]?.local.port ?? 0,
    own: "127.0.0.1",
    direction: "to peer",
    flows: FLOWS * threads,
    window: WINDOW * threads,
    size: 172,
    burst: 1,
    rate: 0,
    warmSeconds: 0.2,
    seconds: SECONDS,
    pid: process.pid,
    blaster,
  };
  const countersBefore = relay.reactors.map(({ counters }) => counters.snapshot());
  const ticksBefore = userTicks();
  const words = ["-c", GENERATOR_CORE, process.execPath, "--conditions=@turnpike/source", generator];
  await promisify(execFile)("taskset", [...words, JSON.stringify(load)]);
  const used = [...userTicks()]
    .map(([thread, ticks]) => ticks - (ticksBefore.get(thread) ?? 0))
    .toSorted((a, b) => b - a);
  // The threads that worked most are the reactors; which is which, the packets tell.
  const costs = relay.reactors.map(({ counters }, index) => {
    const [now, before] = [counters.snapshot(), countersBefore[index]];
    const packets = now.packetsFromClients - (before?.packetsFromClients ?? 0);
    return { packets, calls: (now.systemCalls - (before?.systemCalls ?? 0)) / packets };
  });
  const byPackets = costs.toSorted((a, b) => b.packets - a.packets);
  return costs.map((cost) => ({
    ...cost,
    userNs: ((used[byPackets.indexOf(cost)] ?? 0) * TICK_NS) / cost.packets,
  }));
}

/** CPU time in user mode of each thread of this process. */
function userTicks(): Map<string, number> {
  return new Map(
    readdirSync("/proc/self/task").map((thread) => {
      const text = readFileSync(`/proc/self/task/${thread}/stat`, "utf8");
      // The name, in parentheses, may have spaces; utime is the twelfth field after it.
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      return [thread, Number(fields[11])];
    }),
  );
}
