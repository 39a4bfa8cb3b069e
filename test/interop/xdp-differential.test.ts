import {
  additionalAddressFamily,
  attribute,
  channelNumber,
  encodeChannelData,
  getAttributes,
  requestedTransport,
  sameTransportAddress,
  type TransportAddress,
  transportAddress,
  xorPeerAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EngineHarness, UDP6_LISTENER, UDP_LISTENER } from "../sim/support/engine-harness.ts";
import { outcomeOf, StunClient } from "../sim/support/stun-client.ts";
import { checksum, type Datagram, datagramOf, frameOf, hasRightChecksum, partialChecksum } from "./support/frames.ts";
import { KernelPath, NEXT_LINK, RELAY_LINK } from "./support/kernel-path.ts";

// The same packets through the engine's data path and through the kernel's program, for XDP and for TCX. Needs bpf(2),
// and fails without.

const LISTENERS = { 4: UDP_LISTENER, 6: UDP6_LISTENER } as const;
const MTU = 1500;
const frame = { linkDestination: RELAY_LINK, linkSource: NEXT_LINK };

interface Flow {
  readonly name: string;
  /** From whom to where; `channel` is set if it is ChannelData. */
  readonly source: TransportAddress;
  readonly destination: TransportAddress;
  readonly channel: number | undefined;
}

let kernel: KernelPath;
let engine: EngineHarness;
const flows: Flow[] = [];
/** Relay socket by its address. */
const socketOf = (address: TransportAddress): number | undefined =>
  [...engine.sockets.values()].find(({ local }) => sameTransportAddress(local, address))?.socket;

function open(hook: "xdp" | "tcx"): void {
  flows.length = 0;
  kernel = new KernelPath(hook);
  engine = new EngineHarness();
  const people = [
    { client: transportAddress("198.51.100.7", 40_000), user: { username: "alice", password: "wonderland" } },
    { client: transportAddress("2001:db8:77::7", 40_001), user: { username: "bob", password: "builder" } },
  ];
  const peers = [transportAddress("8.8.8.8", 5000), transportAddress("2600::88", 6000)];
  const channels: { family: 4 | 6; client: TransportAddress; stun: StunClient; relayed: TransportAddress[] }[] = [];
  for (const { client, user } of people) {
    const listener = LISTENERS[client.family];
    const stun = new StunClient(user, engine.random);
    engine.fromClient(client, stun.plain("allocate", [attribute(requestedTransport, 17)]), listener);
    stun.learn(engine.answer());
    const wanted = [attribute(requestedTransport, 17), attribute(additionalAddressFamily, 6)];
    engine.fromClient(client, stun.signed("allocate", wanted), listener);
    const answer = engine.answer();
    expect(outcomeOf(answer)).toBe("success");
    const relayed = getAttributes(answer, xorRelayedAddress).map((each) => {
      if (!each.ok) throw new Error("No relayed address");
      return each.value;
    });
    channels.push({ family: client.family, client, stun, relayed });
  }
  for (const [index, { family, client, stun, relayed }] of channels.entries()) {
    const others = channels[1 - index]?.relayed ?? [];
    for (const [place, peer] of [...peers, ...others].entries()) {
      const channel = 0x4000 + place * 0x111;
      const request = stun.signed("channelBind", [attribute(channelNumber, channel), attribute(xorPeerAddress, peer)]);
      engine.fromClient(client, request, LISTENERS[family]);
      const outputs = engine.take();
      const bound = outputs.find((output) => output.kind === "channelBound");
      if (bound?.kind !== "channelBound") throw new Error("No channel");
      const hairpin = place >= peers.length;
      kernel.bind(bound, { listener: LISTENERS[family].local, hairpin });
      const relay = relayed.find((each) => each.family === peer.family);
      if (relay === undefined) throw new Error("No relay of that family");
      const listener = LISTENERS[family].local;
      const what = `IPv${family} client, IPv${peer.family} ${hairpin ? "client of the relay" : "peer"}`;
      flows.push({ name: `${what}: to the peer`, source: client, destination: listener, channel });
      if (!hairpin)
        flows.push({ name: `${what}: to the client`, source: peer, destination: relay, channel: undefined });
    }
  }
  expect(flows).toHaveLength(12);
}

/** What engine and sockets make of a datagram: the datagram that leaves, or undefined. */
function byEngine(datagram: Datagram): Datagram | undefined {
  const { source, destination, payload, trafficClass } = datagram;
  const listener = Object.values(LISTENERS).find(({ local }) => sameTransportAddress(local, destination));
  const socket = socketOf(destination);
  if (listener !== undefined) {
    const forwarded = engine.fromClient(source, payload, listener);
    if (forwarded?.verdict !== "toPeer") return undefined;
    const relay = engine.sockets.get(forwarded.socket);
    if (relay === undefined) return undefined;
    const onwards = { source: relay.local, destination: forwarded.destination, payload: forwarded.bytes, trafficClass };
    return socketOf(forwarded.destination) === undefined ? onwards : byEngine(onwards);
  }
  if (socket === undefined) return undefined;
  const forwarded = engine.fromPeer(socket, source, payload);
  if (forwarded?.verdict !== "toClient") return undefined;
  const { family } = forwarded.destination;
  return {
    source: LISTENERS[family].local,
    destination: forwarded.destination,
    payload: forwarded.bytes,
    trafficClass,
  };
}

/** Whatever the program does to a frame is what engine and sockets do, or nothing. Returns whether it relayed. */
function compare(packet: Uint8Array): boolean {
  const run = kernel.run(packet);
  const { bytes } = run;
  const came = datagramOf(packet, RELAY_LINK);
  if (kernel.meaning(run) === "left") {
    expect([...bytes]).toEqual([...packet]);
    return false;
  }
  expect(kernel.meaning(run)).toBe("sent");
  if (came === undefined) throw new Error("Relayed what no socket would get");
  const expected = byEngine(came);
  engine.take();
  if (expected === undefined) throw new Error("Relayed what the engine does not");
  const identification = expected.source.family === 4 ? ((bytes[18] ?? 0) << 8) | (bytes[19] ?? 0) : 0;
  const wanted = frameOf(expected, { linkDestination: NEXT_LINK, linkSource: RELAY_LINK, identification });
  // A checksum that was wrong stays wrong, for the receiver to see.
  if (!hasRightChecksum(packet, came)) {
    expect(hasRightChecksum(bytes, expected)).toBe(false);
    const field = expected.source.family === 4 ? 40 : 60;
    wanted.set(bytes.subarray(field, field + 2), field);
  }
  expect(Buffer.from(bytes).toString("hex")).toBe(Buffer.from(wanted).toString("hex"));
  return true;
}

const someFlow = fc.nat(11).map((index) => () => flows[index] as Flow);
/** Zeros and ones make the checksums that are special. */
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.uint8Array({ maxLength: 1500 }),
  fc.tuple(fc.nat(1500), fc.constantFrom(0, 0xff)).map(([length, byte]) => new Uint8Array(length).fill(byte)),
  // What looks like ChannelData, or a message.
  fc
    .tuple(fc.constantFrom(0x40, 0x4f, 0x7f, 0x00, 0x80), fc.uint8Array({ maxLength: 40 }))
    .map(([first, rest]) => Uint8Array.of(first, ...rest)),
);
const header = fc.record({
  trafficClass: fc.nat(255),
  identification: fc.nat(0xffff),
  timeToLive: fc.integer({ min: 1, max: 255 }),
  dontFragment: fc.boolean(),
});

function datagramFor(flow: Flow, bytes: Uint8Array, trafficClass: number): Datagram {
  const { source, destination, channel } = flow;
  const sent = channel === undefined ? bytes : encodeChannelData(channel, bytes, { padded: false });
  return { source, destination, payload: sent, trafficClass };
}

function runsAt(monotonicMs: number): void {
  engine.clock.monotonicMs = monotonicMs;
  kernel.setClock(monotonicMs);
}

describe.each(["xdp", "tcx"] as const)("for %s", (hook) => {
  beforeAll(() => open(hook));
  afterAll(() => kernel.close());

  test("plain packets are relayed by the kernel as by the engine, of all families and both ways, hairpin too", () => {
    runsAt(2000);
    const relayed = new Map<string, number>();
    const totals = { packets: 0, bytes: 0 };
    const before = kernel.counts();
    fc.assert(
      fc.property(someFlow, payload, header, (pick, bytes, { trafficClass, ...rest }) => {
        const flow = pick();
        const datagram = datagramFor(flow, bytes, trafficClass);
        const packet = frameOf(datagram, { ...frame, ...rest });
        const out = byEngine(datagram);
        engine.take();
        if (out === undefined) throw new Error("The engine does not relay it");
        const fits = out.payload.length + 8 + (out.source.family === 4 ? 20 : 40) <= MTU;
        // To XDP, one finished checksum in 65,536 looks unfinished.
        const field = datagram.source.family === 4 ? 40 : 60;
        const looksPartial =
          kernel.hook === "xdp" && new DataView(packet.buffer).getUint16(field) === partialChecksum(datagram);
        const done = compare(packet);
        expect(done).toBe(fits && !looksPartial);
        if (!done) return;
        totals.packets++;
        totals.bytes += bytes.length;
        relayed.set(flow.name, (relayed.get(flow.name) ?? 0) + 1);
      }),
      { numRuns: 3000 },
    );
    expect([...relayed.keys()].toSorted()).toEqual([...new Set(flows.map(({ name }) => name))].toSorted());
    const after = kernel.counts();
    const hairpins = [...relayed]
      .filter(([name]) => name.includes("client of"))
      .reduce((sum, [, count]) => sum + count, 0);
    const packets = after.packetsToPeer - before.packetsToPeer + after.packetsToClient - before.packetsToClient;
    // What goes from client to client counts for both.
    expect(packets).toBe(totals.packets + hairpins);
    expect(after.bytesToPeer + after.bytesToClient).toBeGreaterThanOrEqual(totals.bytes);
  });

  test("frames with bytes changed anywhere in their headers are relayed as by the engine, or go up as they came", () => {
    runsAt(2000);
    const change = fc.record({ at: fc.nat(70), value: fc.nat(255) });
    fc.assert(
      fc.property(
        someFlow,
        payload,
        header,
        fc.array(change, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        (pick, bytes, { trafficClass, ...rest }, changes, mend) => {
          const packet = frameOf(datagramFor(pick(), bytes, trafficClass), { ...frame, ...rest });
          for (const { at, value } of changes) if (at < packet.length) packet[at] = value;
          // Else few would pass the header's checksum.
          if (mend && packet[12] === 8) {
            packet.set([0, 0], 24);
            const sum = checksum(packet.subarray(14, 34));
            packet.set([sum >>> 8, sum & 0xff], 24);
          }
          compare(packet);
        },
      ),
      { numRuns: 5000 },
    );
  });

  const WRONG: Readonly<Record<string, (packet: Uint8Array, datagram: Datagram) => Uint8Array>> = {
    "a VLAN tag": (packet) => Uint8Array.of(...packet.subarray(0, 12), 0x81, 0, 0, 7, ...packet.subarray(12)),
    "a padded frame": (packet) => Uint8Array.of(...packet, 0, 0, 0),
    "a cut frame": (packet) => packet.subarray(0, -1),
    "another link address": (packet) => packet.with(5, 9),
    "no checksum": (packet, { source }) => {
      const field = source.family === 4 ? 40 : 60;
      return packet.with(field, 0).with(field + 1, 0);
    },
    "a fragment, or an extension header": (packet, { source }) => {
      if (source.family === 6) return packet.with(20, 44);
      const changed = packet.with(20, 0x20).with(24, 0).with(25, 0);
      const sum = checksum(changed.subarray(14, 34));
      return changed.with(24, sum >>> 8).with(25, sum & 0xff);
    },
    "another protocol": (packet, { source }) => packet.with(source.family === 4 ? 23 : 20, 6),
  };

  test.each(Object.keys(WRONG))("%s makes a packet go up untouched", (what) => {
    runsAt(2000);
    for (const flow of flows) {
      const datagram = datagramFor(
        flow,
        Uint8Array.from({ length: 172 }, (_none, index) => index),
        0,
      );
      const packet = frameOf(datagram, frame);
      expect(compare(packet), flow.name).toBe(true);
      const wrong = WRONG[what]?.(packet, datagram) ?? packet;
      expect(compare(Uint8Array.from(wrong)), flow.name).toBe(false);
    }
  });

  test("a checksum that looks unfinished goes up by XDP; by TCX, for which it is a wrong one, it stays wrong", () => {
    runsAt(2000);
    for (const flow of flows) {
      const datagram = datagramFor(flow, new Uint8Array(172), 0);
      const field = datagram.source.family === 4 ? 40 : 60;
      const packet = frameOf(datagram, frame);
      new DataView(packet.buffer).setUint16(field, partialChecksum(datagram));
      expect(compare(packet), flow.name).toBe(hook === "tcx");
    }
  });

  test("IP options go up", () => {
    runsAt(2000);
    for (const flow of flows.filter(({ source }) => source.family === 4)) {
      const packet = frameOf(datagramFor(flow, new Uint8Array(100), 0), frame);
      const longer = Uint8Array.of(...packet.subarray(0, 34), 1, 1, 1, 1, ...packet.subarray(34));
      const view = new DataView(longer.buffer);
      view.setUint8(14, 0x46);
      view.setUint16(16, view.getUint16(16) + 4);
      view.setUint16(24, 0);
      view.setUint16(24, checksum(longer.subarray(14, 38)));
      expect(compare(longer)).toBe(false);
    }
  });

  test("ChannelData that doesn't fill its datagram goes up", () => {
    runsAt(2000);
    for (const flow of flows.filter(({ channel }) => channel !== undefined)) {
      for (const [length, said] of [
        [100, 99],
        [100, 101],
        [101, 98],
        [4, 0],
      ] as const) {
        const payload = Uint8Array.of(
          ...encodeChannelData(flow.channel ?? 0, new Uint8Array(length), { padded: false }),
        );
        new DataView(payload.buffer).setUint16(2, said);
        const { source, destination } = flow;
        expect(compare(frameOf({ source, destination, payload, trafficClass: 0 }, frame))).toBe(false);
      }
    }
  });

  test("nothing is relayed without a next hop, nor from outside with the relay's own source address", () => {
    runsAt(2000);
    const packets = flows.map((flow) => frameOf(datagramFor(flow, new Uint8Array(50), 0), frame));
    kernel.setHop(false);
    for (const packet of packets) expect(compare(packet)).toBe(false);
    kernel.setHop(true);
    for (const packet of packets) expect(compare(packet)).toBe(true);
    const sockets = [...engine.sockets.values()];
    for (const { local: source } of sockets) {
      for (const { local: destination } of sockets) {
        if (source.family !== destination.family) continue;
        const spoofed = frameOf({ source, destination, payload: new Uint8Array(50), trafficClass: 0 }, frame);
        expect(compare(spoofed)).toBe(false);
      }
    }
  });

  test("checksums are right for every sum there is: none is zero, and to XDP one in 65,536 looks unfinished", () => {
    runsAt(2000);
    for (const flow of [flows[0], flows[1]]) {
      if (flow === undefined) throw new Error("No flow");
      const field = flow.source.family === 4 ? 40 : 60;
      const bytes = new Uint8Array(8);
      let passed = 0;
      for (let word = 0; word <= 0xffff; word++) {
        bytes[0] = word >>> 8;
        bytes[1] = word & 0xff;
        const run = kernel.run(frameOf(datagramFor(flow, bytes, 0), frame));
        if (kernel.meaning(run) === "left") {
          passed++;
          continue;
        }
        const { bytes: out } = run;
        const left = datagramOf(out, NEXT_LINK);
        if (left === undefined || !hasRightChecksum(out, left)) throw new Error(`Wrong for ${word}`);
        if (out[field] === 0 && out[field + 1] === 0) throw new Error(`No checksum for ${word}`);
      }
      expect(passed).toBe(kernel.hook === "xdp" ? 1 : 0);
    }
  });

  test("at every moment, the kernel relays exactly what has not expired", () => {
    // Permissions last 300 s from the time they were installed at, one second after the engine's beginning.
    const endMs = 1000 + 300_000;
    for (const [monotonicMs, live] of [
      [endMs - 10_000, true],
      [endMs, false],
      [endMs + 1, false],
      [endMs + 300_000, false],
    ] as const) {
      runsAt(monotonicMs);
      for (const flow of flows) {
        const datagram = datagramFor(flow, new Uint8Array(50), 0);
        expect(byEngine(datagram) !== undefined).toBe(live);
        engine.take();
        expect(compare(frameOf(datagram, frame))).toBe(live);
      }
    }
  });
});

test("by TCX, several packets in one buffer go up", () => {
  open("tcx");
  runsAt(2000);
  // `struct __sk_buff`: how many segments, and of which size.
  const context = new Uint8Array(192);
  const view = new DataView(context.buffer);
  view.setUint32(164, 2, true);
  view.setUint32(176, 86, true);
  for (const flow of flows) {
    const packet = frameOf(datagramFor(flow, new Uint8Array(172), 0), frame);
    const run = kernel.run(packet, context);
    expect(kernel.meaning(run)).toBe("left");
    expect([...run.bytes]).toEqual([...packet]);
    expect(compare(packet)).toBe(true);
  }
  kernel.close();
});
