// The load generator: `generator.ts JSON`, with the JSON of a `Load`. Prints one JSON line, a `Measurement`.
import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import {
  Arena,
  BatchedPlane,
  createTimeSource,
  loadLibc,
  type Opened,
  type PacketReceiver,
  testLibc,
  writeSocketAddress,
} from "@turnpike/relay";
import {
  AddressRegister,
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
import { Histogram } from "./histogram.ts";

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

interface Flow {
  readonly client: number;
  readonly channel: number;
  readonly relayed: TransportAddress;
  /** The whole packet as it is sent; the payload's first 16 bytes are changed each time. */
  readonly packet: Uint8Array;
  readonly view: DataView;
  readonly payloadOffset: number;
  /** Ends its allocation. */
  readonly release: () => void;
  sent: number;
  received: number;
  progressMs: number;
}

/** Packets under way, over all flows; of one flow alone, fewer. */
const WINDOW = 512;
const WINDOW_OF_ONE = 128;
/** A flow that made no progress for so long has lost what was under way. */
const STALL_MS = 20;
const WIRE = 0xc1;

const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const trusted = testLibc(libc);
if (trusted.kind !== "trusted" || !trusted.aggregates) throw new Error("The self-test of the system calls failed");

const load: Load = JSON.parse(process.argv[2] ?? "");
const server = transportAddress(load.server, load.serverPort);
const now = { monotonicMs: 0, unixMs: 0 };
const readClock = createTimeSource(libc);
const histogram = new Histogram();
const flows: Flow[] = [];
const flowOfClient = new Int32Array(65_536).fill(-1);
const window = Math.max(2, load.burst, Math.floor((load.flows === 1 ? WINDOW_OF_ONE : WINDOW) / load.flows));
let answer: Uint8Array | undefined;
let idleMs = 0;
let sent = 0;
let received = 0;
let bad = 0;
let cursor = 0;
let tokens = 0;
let refilledMs = 0;
let pumping = false;
let measuring = false;
let didSend = false;
let bufferView: DataView = new DataView(new ArrayBuffer(0));

const serverAddress = new Arena(libc, 64);
const serverAddressLength = writeSocketAddress(serverAddress.words, 0, server);
/** Clients' sockets, by descriptor: connected, as those of real clients often are, which spares a look-up each time. */
const connected = new Uint8Array(65_536);
let connecting = false;

const plane = new BatchedPlane({
  libc: { ...libc, epollWait, bind, sendto },
  receiveAggregates: false,
  copyTrafficClass: false,
  bufferBytes: 16 << 20,
  onAwake: () => readClock(now),
  onRelayed: () => {
    if (pumping) pump();
  },
});
const receiver: PacketReceiver = {
  handlePeerPacket: take,
  handleClientPacket() {},
  handlePeerIcmp() {},
  handleRelaySocketError(_socket, code) {
    throw new Error(`A socket of the generator broke: ${code}`);
  },
};
plane.start(receiver);
const peer = open();
for (let index = 0; index < load.flows; index++) flows.push(openFlow(index));
run();

function run(): void {
  readClock(now);
  refilledMs = now.monotonicMs;
  const startMs = now.monotonicMs + load.warmSeconds * 1000;
  const endMs = startMs + load.seconds * 1000;
  let cpuMs = 0;
  let [sentBefore, receivedBefore, idleBefore] = [0, 0, 0];
  pumping = true;
  while (now.monotonicMs < endMs) {
    if (!measuring && now.monotonicMs >= startMs) {
      measuring = true;
      histogram.clear();
      cpuMs = cpuOf(load.pid);
      [sentBefore, receivedBefore, idleBefore] = [sent, received, idleMs];
    }
    plane.turn(didSend || load.rate > 0 ? 0 : 1);
  }
  const elapsedMs = now.monotonicMs - startMs;
  cpuMs = cpuOf(load.pid) - cpuMs;
  const sentInTime = sent - sentBefore;
  const receivedInTime = received - receivedBefore;
  const measurement: Measurement = {
    packetsPerSecond: (receivedInTime / elapsedMs) * 1000,
    lossPercent: Math.max(0, (100 * (sentInTime - receivedInTime)) / Math.max(1, sentInTime)),
    bad,
    cpuSecondsPerMillion: (cpuMs * 1000) / Math.max(1, receivedInTime),
    p50Us: histogram.quantile(0.5) * 1000,
    p99Us: histogram.quantile(0.99) * 1000,
    generatorIdlePercent: (100 * (idleMs - idleBefore)) / elapsedMs,
  };
  console.log(JSON.stringify(measurement));
  for (const flow of flows) flow.release();
  void plane.stop();
}

function epollWait(epoll: number, events: number, count: number, timeoutMs: number): number {
  if ("unavailable" in libc) return -1;
  if (timeoutMs === 0) return libc.epollWait(epoll, events, count, 0);
  const before = performance.now();
  const ready = libc.epollWait(epoll, events, count, timeoutMs);
  idleMs += performance.now() - before;
  return ready;
}

function bind(fd: number, address: number, length: number): number {
  if ("unavailable" in libc) return -1;
  const bound = libc.bind(fd, address, length);
  if (bound < 0 || !connecting) return bound;
  connected[fd] = 1;
  return libc.connect(fd, serverAddress.address, serverAddressLength);
}

function sendto(fd: number, bytes: number, length: number, flags: number, address: number, size: number): number {
  if ("unavailable" in libc) return -1;
  return connected[fd] === 1
    ? libc.sendto(fd, bytes, length, flags, 0, 0)
    : libc.sendto(fd, bytes, length, flags, address, size);
}

/** Sends what the windows, or the rate, allow. Runs within a turn, so that it leaves in batches. */
function pump(): void {
  didSend = false;
  if (load.rate > 0) {
    tokens = Math.min(256, tokens + ((now.monotonicMs - refilledMs) * load.rate) / 1000);
    refilledMs = now.monotonicMs;
    for (; tokens >= load.burst; tokens -= load.burst) sendBurst();
    return;
  }
  for (let tried = Math.min(load.flows, 128); tried > 0; tried--) {
    const flow = flows[cursor];
    if (flow !== undefined && flow.sent - flow.received + load.burst > window) {
      if (now.monotonicMs - flow.progressMs > STALL_MS) {
        flow.received = flow.sent;
        flow.progressMs = now.monotonicMs;
      }
      cursor = (cursor + 1) % load.flows;
    } else {
      sendBurst();
    }
  }
}

function sendBurst(): void {
  const flow = flows[cursor];
  cursor = (cursor + 1) % load.flows;
  if (flow === undefined) return;
  const { packet, view, payloadOffset } = flow;
  for (let i = 0; i < load.burst; i++) {
    view.setUint32(payloadOffset + 4, flow.sent >>> 0);
    view.setFloat64(payloadOffset + 8, now.monotonicMs);
    if (load.direction === "to peer") plane.sendToPeer(flow.client, server, packet, 0, packet.length, false);
    else plane.sendToPeer(peer.socket, flow.relayed, packet, 0, packet.length, false);
    flow.sent++;
  }
  sent += load.burst;
  didSend = true;
}

function take(socket: number, from: TransportAddress, buffer: Uint8Array, offset: number, length: number): void {
  if (!pumping) {
    answer = buffer.slice(offset, offset + length);
    return;
  }
  if (bufferView.buffer !== buffer.buffer) bufferView = new DataView(buffer.buffer, buffer.byteOffset);
  const header = load.direction === "to peer" ? 0 : 4;
  const index = length >= header + 16 ? bufferView.getUint32(offset + header) : -1;
  const flow = flows[index];
  const whole = length === load.size + header;
  const rightWay =
    load.direction === "to peer"
      ? socket === peer.socket && from.port === flow?.relayed.port
      : flowOfClient[socket] === index &&
        bufferView.getUint16(offset) === flow?.channel &&
        bufferView.getUint16(offset + 2) === load.size;
  if (flow === undefined || !whole || !rightWay) {
    bad++;
    return;
  }
  received++;
  flow.received = Math.max(flow.received, bufferView.getUint32(offset + header + 4) + 1);
  flow.progressMs = now.monotonicMs;
  if (measuring) histogram.add(now.monotonicMs - bufferView.getFloat64(offset + header + 8));
}

function open(): Extract<Opened, { kind: "opened" }> {
  let result: Opened | undefined;
  plane.openRelaySocket(transportAddress(load.own, 0), (opened) => (result = opened));
  if (result?.kind !== "opened") throw new Error(`The generator can't open a socket: ${result?.code}`);
  return result;
}

function openFlow(index: number): Flow {
  connecting = true;
  const { socket: client } = open();
  connecting = false;
  flowOfClient[client] = index;
  const channel = 0x4000 + (index % 16);
  const { relayed, release } = load.protocol === "turn" ? allocate(client, channel) : wire(client, channel);
  const payloadOffset = load.direction === "to peer" ? 4 : 0;
  const packet = new Uint8Array(payloadOffset + load.size);
  const view = new DataView(packet.buffer);
  if (payloadOffset > 0) {
    view.setUint16(0, channel);
    view.setUint16(2, load.size);
  }
  for (let at = 16; at < load.size; at++) packet[payloadOffset + at] = at;
  view.setUint32(payloadOffset, index);
  return { client, channel, relayed, packet, view, payloadOffset, release, sent: 0, received: 0, progressMs: 0 };
}

function allocate(client: number, channel: number): Pick<Flow, "relayed" | "release"> {
  const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(randomInt(2 ** 31)));
  const transport = attribute(requestedTransport, 17);
  const ask = (request: Uint8Array): StunMessage => stunOf(exchange(client, request, isAnswer));
  stun.learn(ask(stun.plain("allocate", [transport])));
  const relayed = relayedOf(ask(stun.signed("allocate", [transport])));
  if (typeof relayed === "number") throw new Error(`The relay refused an allocation: ${relayed}`);
  const wanted = [attribute(channelNumber, channel), attribute(xorPeerAddress, peer.local)];
  const outcome = outcomeOf(ask(stun.signed("channelBind", wanted)));
  if (outcome !== "success") throw new Error(`The relay refused a channel: ${outcome}`);
  const end = stun.signed("refresh", [attribute(lifetime, 0)]);
  return { relayed, release: () => plane.sendToPeer(client, server, end, 0, end.length, false) };
}

function wire(client: number, channel: number): Pick<Flow, "relayed" | "release"> {
  const message = new DataView(new ArrayBuffer(10));
  message.setUint8(0, WIRE);
  message.setUint16(2, channel);
  message.setUint16(4, peer.local.port);
  message.setInt32(6, peer.local.w3);
  const reply = exchange(client, new Uint8Array(message.buffer), (bytes) => bytes[0] === WIRE);
  const view = new DataView(reply.buffer, reply.byteOffset);
  const relayed = new AddressRegister();
  relayed.set({ family: 4, w0: 0, w1: 0, w2: 0xffff, w3: view.getInt32(6), port: view.getUint16(4) });
  // The yardstick keeps its channels for ever: they are found again by the next client of this port.
  return { relayed, release: () => {} };
}

function isAnswer(bytes: Uint8Array): boolean {
  return decodeMessage(bytes).ok;
}

function exchange(client: number, request: Uint8Array, accept: (bytes: Uint8Array) => boolean): Uint8Array {
  for (let attempt = 0; attempt < 10; attempt++) {
    plane.sendToPeer(client, server, request, 0, request.length, false);
    for (let waits = 0; waits < 20; waits++) {
      answer = undefined;
      plane.turn(25);
      const given: Uint8Array | undefined = answer;
      if (given !== undefined && accept(given)) return given;
    }
  }
  throw new Error(`No answer from ${load.server}:${load.serverPort}`);
}

/** CPU time of a process, all its threads together, in milliseconds. */
function cpuOf(pid: number): number {
  let nanoseconds = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
  }
  return nanoseconds / 1e6;
}
