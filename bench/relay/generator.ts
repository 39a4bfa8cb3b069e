// The load generator: `generator.ts JSON`, with the JSON of a `Load`. It makes allocations and channels, hands the sockets
// to `blaster.c`, and prints one JSON line, a `Measurement`.
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { Arena, loadLibc, SocketFactory } from "@turnpike/relay";
import {
  attribute,
  channelNumber,
  decodeMessage,
  lifetime,
  requestedTransport,
  type StunMessage,
  transportAddress,
  type TransportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";
import { relayedOf } from "../../test/support/udp-turn-client.ts";

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
  readonly warmSeconds: number;
  readonly seconds: number;
  /** Whose CPU time is counted. */
  readonly pid: number;
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
}

/** A client's socket, and how its packets come out. */
interface Flow {
  readonly fd: number;
  readonly channel: number;
  /** Port and IPv4 address, as the relay told them. */
  readonly port: number;
  readonly address: number;
  /** Ends the allocation. */
  readonly release: () => void;
}

/** Packets under way, over all flows; of one flow alone, fewer. */
const WINDOW = 512;
const WINDOW_OF_ONE = 128;
const WIRE = 0xc1;
const ATTEMPTS = 10;
const ATTEMPT_MS = 500;

const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const calls = libc;
const load: Load = JSON.parse(process.argv[2] ?? "");
const server = transportAddress(load.server, load.serverPort);
const own = transportAddress(load.own, 0);
const arena = new Arena(libc, 4096);
const factory = new SocketFactory(libc, arena);
const scratch = arena.reserve(2048);
const peer = factory.open({ local: own });
const flows = Array.from({ length: load.flows }, (_, index) => openFlow(0x4000 + (index % 16)));
const window = Math.max(2, load.burst, Math.floor((load.flows === 1 ? WINDOW_OF_ONE : WINDOW) / load.flows));

const wiring = new DataView(new ArrayBuffer(8 * flows.length));
for (const [index, { channel, port, address }] of flows.entries()) {
  wiring.setUint16(index * 8, channel);
  wiring.setUint16(index * 8 + 2, port);
  wiring.setInt32(index * 8 + 4, address);
}
const words = [
  load.direction === "to peer" ? 0 : 1,
  load.size,
  load.burst,
  window,
  load.rate,
  load.warmSeconds * 1000,
  load.seconds * 1000,
  load.pid,
];
const { stdout, status, error } = spawnSync(load.blaster, words.map(String), {
  input: new Uint8Array(wiring.buffer),
  stdio: ["pipe", "pipe", "inherit", peer.fd, ...flows.map(({ fd }) => fd)],
  encoding: "utf8",
});
for (const flow of flows) flow.release();
if (status !== 0) throw new Error(`The blaster failed with ${status}: ${String(error ?? "")}`);
const [sent = 0, received = 0, bad = 0, cpuNs = 0, elapsedNs = 0, idleNs = 0, p50Ns = 0, p99Ns = 0] = stdout
  .trim()
  .split(" ")
  .map(Number);
const measurement: Measurement = {
  packetsPerSecond: (received / elapsedNs) * 1e9,
  lossPercent: Math.max(0, (100 * (sent - received)) / Math.max(1, sent)),
  bad,
  cpuSecondsPerMillion: cpuNs / 1000 / Math.max(1, received),
  p50Us: p50Ns / 1000,
  p99Us: p99Ns / 1000,
  generatorIdlePercent: (100 * idleNs) / elapsedNs,
};
console.log(JSON.stringify(measurement));

function openFlow(channel: number): Flow {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { fd } = factory.open({ local: own, remote: server });
    const flow = load.protocol === "turn" ? allocate(fd, channel) : wire(fd, channel);
    if (flow !== undefined) return flow;
  }
  throw new Error("The relay refused an allocation: every port has one already");
}

/** Undefined: an earlier run's allocation of this port has not ended. */
function allocate(fd: number, channel: number): Flow | undefined {
  const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(randomInt(2 ** 31)));
  const transport = attribute(requestedTransport, 17);
  const ask = (request: Uint8Array): StunMessage =>
    stunOf(exchange(fd, request, (bytes) => decodeMessage(bytes).ok && isAnswer(bytes, request)));
  stun.learn(ask(stun.plain("allocate", [transport])));
  const relayed: TransportAddress | number = relayedOf(ask(stun.signed("allocate", [transport])));
  if (relayed === 437) return undefined;
  if (typeof relayed === "number") throw new Error(`The relay refused an allocation: ${relayed}`);
  const wanted = [attribute(channelNumber, channel), attribute(xorPeerAddress, peer.local)];
  const outcome = outcomeOf(ask(stun.signed("channelBind", wanted)));
  if (outcome !== "success") throw new Error(`The relay refused a channel: ${outcome}`);
  const end = stun.signed("refresh", [attribute(lifetime, 0)]);
  return { fd, channel, port: relayed.port, address: relayed.w3, release: () => send(fd, end) };
}

/** Whether it has the request's transaction ID: a busy relay may answer a request twice. */
function isAnswer(bytes: Uint8Array, request: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(8, 20), request.subarray(8, 20)) === 0;
}

function wire(fd: number, channel: number): Flow {
  const message = new DataView(new ArrayBuffer(10));
  message.setUint8(0, WIRE);
  message.setUint16(2, channel);
  message.setUint16(4, peer.local.port);
  message.setInt32(6, peer.local.w3);
  const reply = exchange(fd, new Uint8Array(message.buffer), (bytes) => bytes[0] === WIRE);
  const view = new DataView(reply.buffer, reply.byteOffset);
  // The yardstick keeps its channels for ever: they are wired anew by the next client of this port.
  return { fd, channel, port: view.getUint16(4), address: view.getInt32(6), release: () => {} };
}

/** Sends a request until it is answered. */
function exchange(fd: number, request: Uint8Array, accept: (bytes: Uint8Array) => boolean): Uint8Array {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    send(fd, request);
    for (const until = performance.now() + ATTEMPT_MS; performance.now() < until; calls.usleep(100)) {
      const length = calls.read(fd, arena.address + scratch, 2048);
      if (length <= 0) continue;
      const bytes = arena.bytes.slice(scratch, scratch + length);
      if (accept(bytes)) return bytes;
    }
  }
  throw new Error(`No answer from ${load.server}:${load.serverPort}`);
}

function send(fd: number, bytes: Uint8Array): void {
  arena.bytes.set(bytes, scratch);
  calls.write(fd, arena.address + scratch, bytes.length);
}
