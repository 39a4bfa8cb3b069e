// The load generator: `generator.ts JSON`, with the JSON of a `Load`. It makes allocations and channels, hands the sockets
// to `blaster.c`, and prints one JSON line, a `Measurement`.
import { spawnSync } from "node:child_process";
import { openFlows } from "./flows.ts";

/** What to send. */
export interface Load {
  /** `turn`: allocations and channels; `wired`: the yardstick's registration. */
  readonly protocol: "turn" | "wired";
  readonly server: string;
  readonly serverPort: number;
  /** Where clients and the peer are. */
  readonly own: string;
  readonly direction: "to peer" | "to client";
  readonly flows: number;
  /** Payload of each packet, in bytes; at least 16. */
  readonly size: number;
  /** Packets of one flow in a row. */
  readonly burst: number;
  /** Packets a second; 0: as many as come back. */
  readonly rate: number;
  /** Packets under way, over all flows. Default: 512, of one flow alone 128. */
  readonly window?: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  /** Whose CPU time is counted. */
  readonly pid: number;
  /** Kernel threads whose CPU time is counted too. */
  readonly threads?: readonly number[];
  /** The relay's: what it does is told as well. */
  readonly core?: number;
  /** `blaster.c`, compiled. */
  readonly blaster: string;
}

/** What came of it. */
export interface Measurement {
  readonly packetsPerSecond: number;
  readonly lossPercent: number;
  /** Packets that arrived other than they were sent. */
  readonly bad: number;
  readonly cpuSecondsPerMillion: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Part of the time that the generator waited for packets: near 0, it was the limit itself. */
  readonly generatorIdlePercent: number;
  /** Of the relay's core, by `/proc/stat`: the work of everybody, and what the hypervisor took. */
  readonly coreBusyPercent: number;
  readonly coreStealPercent: number;
}

const WINDOW = 512;
const WINDOW_OF_ONE = 128;

const load: Load = JSON.parse(process.argv[2] ?? "");
const { peer, flows } = openFlows(load);
const underWay = load.window ?? (load.flows === 1 ? WINDOW_OF_ONE : WINDOW);
const window = Math.max(2, load.burst, Math.floor(underWay / load.flows));

const wiring = new DataView(new ArrayBuffer(8 * flows.length));
for (const [index, { channel, relayed }] of flows.entries()) {
  wiring.setUint16(index * 8, channel);
  wiring.setUint16(index * 8 + 2, relayed.port);
  wiring.setInt32(index * 8 + 4, relayed.w3);
}
const words = [
  load.direction === "to peer" ? 0 : 1,
  load.size,
  load.burst,
  window,
  load.rate,
  load.warmSeconds * 1000,
  load.seconds * 1000,
  [load.pid, ...(load.threads ?? [])].join(","),
  load.core ?? -1,
];
const { stdout, status, signal, error } = spawnSync(load.blaster, words.map(String), {
  input: new Uint8Array(wiring.buffer),
  stdio: ["pipe", "pipe", "inherit", peer.fd, ...flows.map(({ fd }) => fd)],
  encoding: "utf8",
});
for (const flow of flows) flow.release();
if (status !== 0) {
  const why = signal === null ? `code ${status}` : `signal ${signal}`;
  throw new Error(`The blaster ended with ${why} (${words.join(" ")}): ${String(error ?? stdout)}`);
}
const [sent = 0, received = 0, bad = 0, cpuNs = 0, elapsedNs = 0, ...more] = stdout.trim().split(" ").map(Number);
const [idleNs = 0, p50Ns = 0, p99Ns = 0, coreBusyNs = 0, coreStealNs = 0] = more;
const measurement: Measurement = {
  packetsPerSecond: (received / elapsedNs) * 1e9,
  lossPercent: Math.max(0, (100 * (sent - received)) / Math.max(1, sent)),
  bad,
  cpuSecondsPerMillion: cpuNs / 1000 / Math.max(1, received),
  p50Us: p50Ns / 1000,
  p99Us: p99Ns / 1000,
  generatorIdlePercent: (100 * idleNs) / elapsedNs,
  coreBusyPercent: (100 * coreBusyNs) / elapsedNs,
  coreStealPercent: (100 * coreStealNs) / elapsedNs,
};
console.log(JSON.stringify(measurement));
