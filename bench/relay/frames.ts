// The load generator within the kernel: `frames.ts JSON`, with the JSON of a `FrameLoad`. It makes allocations and
// channels by sockets; then a program sends frames as a card's driver receives them, and another counts and drops what
// the relay makes of them. Prints one JSON line, a `FrameCount`.
import { encodeChannelData, parseIpAddress } from "@turnpike/stun";
import { type Assembled, BpfMap, loadSystem, Netlink, Program, XdpLink } from "@turnpike/xdp";
import { frameOf } from "../../test/interop/support/frames.ts";
import { coreTime, threadsNs } from "./core-time.ts";
import { openFlows } from "./flows.ts";
import { senderProgram, sinkProgram, tally, TEMPLATE } from "./frame-programs.ts";
import type { Load } from "./generator.ts";

/** What to send. */
export interface FrameLoad extends Pick<
  Load,
  "protocol" | "server" | "serverPort" | "own" | "direction" | "flows" | "size" | "warmSeconds" | "seconds"
> {
  readonly interface: string;
  /** Measurements in a row. */
  readonly rounds: number;
  /** Whose time on a core is counted, with all their threads. */
  readonly busy: readonly number[];
  /** The relay's. */
  readonly core: number;
}

/** What came of one measurement. */
export interface FrameCount {
  readonly sent: number;
  readonly received: number;
  readonly seconds: number;
  /** Of `FrameLoad.busy`. */
  readonly threadSeconds: number;
  /** Of the relay's core. */
  readonly busySeconds: number;
  readonly stealSeconds: number;
}

/** Packets under way, over all flows: fewer than a veth interface holds. */
const WINDOW = 192;
/** Runs of the sender in one call, those that wait for the window included. A call takes long to begin and to end. */
const CALL = 1 << 20;

const load: FrameLoad = JSON.parse(process.argv[2] ?? "");
const { peer, flows } = openFlows(load);
const system = loadSystem();
const netlink = new Netlink(system);
const link = netlink.link(load.interface);
if (link === undefined) throw new Error(`There is no interface ${load.interface}`);
const relay = bytesOf(load.server);
const relayLink = netlink.neighbour(link.index, relay);
if (relayLink === undefined) throw new Error("The relay's link address is not known");

const frames = flows.map(({ client, channel, relayed }) => {
  const payload = Uint8Array.from({ length: load.size }, (_none, index) => index);
  const [source, destination, sent] =
    load.direction === "to peer"
      ? [client, { ...relayed, port: load.serverPort }, encodeChannelData(channel, payload, { padded: false })]
      : [peer.local, relayed, payload];
  const datagram = { source, destination, payload: sent, trafficClass: 0 };
  return frameOf(datagram, { linkDestination: relayLink, linkSource: link.address });
});
const shared = map("tally", tally.size, 1);
const counts = new BigUint64Array(shared.memory());
const templates = map("templates", TEMPLATE, flows.length);
const templateBytes = new Uint8Array(templates.memory());
for (const [index, frame] of frames.entries()) templateBytes.set(frame.subarray(0, TEMPLATE), index * TEMPLATE);
const sender = program(
  "bench_sender",
  senderProgram({
    tally: shared.descriptor,
    templates: templates.descriptor,
    flows: flows.length,
    interfaceIndex: link.index,
  }),
);
const sink = program(
  "bench_sink",
  sinkProgram({
    tally: shared.descriptor,
    source: relay,
    length: load.size + 28 + (load.direction === "to client" ? 4 : 0),
    ...(load.direction === "to peer" ? { port: peer.local.port, portAt: 2 } : { port: load.serverPort, portAt: 0 }),
  }),
);
const attached = new XdpLink(system, {
  program: sink,
  interface: link.name,
  interfaceIndex: link.index,
  modes: ["native"],
});
counts[tally.field.window.offset / 8] = BigInt(WINDOW);
const results: FrameCount[] = [];
for (let round = 0; round < load.rounds; round++) {
  send(load.warmSeconds);
  results.push(send(load.seconds));
}
attached.close();
for (const flow of flows) flow.release();
console.log(JSON.stringify(results));

function send(seconds: number): FrameCount {
  const [sent, received, threads] = [count("sent"), count("received"), threadsNs(load.busy)];
  const core = coreTime(load.core);
  const started = performance.now();
  for (;;) {
    sender.runLive(frames[0] ?? new Uint8Array(TEMPLATE), CALL);
    const nowMs = performance.now();
    if (nowMs - started >= seconds * 1000) {
      return {
        sent: count("sent") - sent,
        received: count("received") - received,
        seconds: (nowMs - started) / 1000,
        threadSeconds: (threadsNs(load.busy) - threads) / 1e9,
        busySeconds: coreTime(load.core).busy - core.busy,
        stealSeconds: coreTime(load.core).steal - core.steal,
      };
    }
  }
}

function count(name: "sent" | "received"): number {
  return Number(counts[tally.field[name].offset / 8] ?? 0n);
}

function map(name: string, valueSize: number, entries: number): BpfMap {
  return new BpfMap(system, { kind: "array", name, keySize: 4, valueSize, entries, mapped: true });
}

function program(name: string, assembled: Assembled): Program {
  return new Program(system, { name, assembled });
}

function bytesOf(address: string): Uint8Array {
  const ip = parseIpAddress(address);
  if (ip?.family !== 4) throw new Error(`${address} is no IPv4 address`);
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, ip.w3 >>> 0);
  return bytes;
}
