import fc from "fast-check";
import type { TransportAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import * as L from "../../libc/layout.ts";
import { type Libc, loadLibc } from "../../libc/libc.ts";
import type { Opened, PacketReceiver } from "../plane.ts";
import type { BatchedPlaneOptions } from "./batched-plane-options.ts";
import { BatchedPlane } from "./batched-plane.ts";

const LOOPBACK: TransportAddress = { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0x7f000001, port: 0 };
const libc = loadLibc();

/** What a plane received, as it was when it came. */
interface Seen {
  readonly bytes: number[];
  readonly from: number;
}

class Collector implements PacketReceiver {
  readonly seen: Seen[] = [];
  onPeerPacket: PacketReceiver["handlePeerPacket"] = () => {};
  readonly icmp: string[] = [];

  handleClientPacket: PacketReceiver["handleClientPacket"] = (source, buffer, offset, length) => {
    this.seen.push({ bytes: [...buffer.subarray(offset, offset + length)], from: source.remote.port });
  };

  handlePeerPacket: PacketReceiver["handlePeerPacket"] = (socket, peer, buffer, offset, length) => {
    this.seen.push({ bytes: [...buffer.subarray(offset, offset + length)], from: peer.port });
    this.onPeerPacket(socket, peer, buffer, offset, length);
  };

  handlePeerIcmp: PacketReceiver["handlePeerIcmp"] = (socket, peer, { type, code }) => {
    this.icmp.push(`${socket} ${peer.port} ${type}/${code}`);
  };

  handleRelaySocketError(): void {}
}

function opened(open: (done: (opened: Opened) => void) => void): Extract<Opened, { kind: "opened" }> {
  let result: Opened | undefined;
  open((given) => (result = given));
  if (result?.kind !== "opened") throw new Error(`Not opened: ${result?.code}`);
  return result;
}

const payload = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => Math.imul(index + seed + 1, 0x9e3779b1) >>> 24);

function withPlanes(real: Libc, options: Partial<BatchedPlaneOptions>, use: (a: Side, b: Side) => void): void {
  const sides = [0, 1].map(() => new Side(real, options));
  try {
    const [a, b] = sides;
    if (a !== undefined && b !== undefined) use(a, b);
  } finally {
    for (const { plane } of sides) void plane.stop();
  }
}

/** A plane with a listener and a relay socket. */
class Side {
  readonly plane: BatchedPlane;
  readonly receiver = new Collector();
  readonly listener: TransportAddress;
  readonly relay: Extract<Opened, { kind: "opened" }>;

  constructor(real: Libc, options: Partial<BatchedPlaneOptions>) {
    this.plane = new BatchedPlane({ libc: real, ...options });
    this.plane.start(this.receiver);
    this.listener = opened((done) => this.plane.openListener(0, LOOPBACK, done)).local;
    this.relay = opened((done) => this.plane.openRelaySocket(LOOPBACK, done));
  }
}

if (!("unavailable" in libc)) {
  /** Sends bursts within a turn of `from`, so that they leave together, to `to`'s relay socket. */
  const burst = (from: Side, to: Side, packets: readonly Uint8Array[]): void => {
    const kick = opened((done) => to.plane.openRelaySocket(LOOPBACK, done));
    from.receiver.onPeerPacket = () => {
      for (const bytes of packets) {
        from.plane.sendToPeer(from.relay.socket, to.relay.local, bytes, 0, bytes.length, false);
      }
    };
    to.plane.sendToPeer(kick.socket, from.relay.local, payload(1, 0), 0, 1, false);
    from.plane.turn(1000);
    to.plane.closeRelaySocket(kick.socket, () => {});
  };
  const drain = (side: Side): void => {
    while (side.plane.turn(0) > 0);
  };

  test("runs of one size leave and arrive as aggregates, each packet whole and in order", () => {
    withPlanes(libc, {}, (a, b) => {
      const run = Array.from({ length: 40 }, (_, seed) => payload(1000, seed));
      for (let round = 0; round < 6; round++) {
        burst(a, b, run);
        drain(b);
      }
      expect(b.receiver.seen.map(({ bytes }) => bytes)).toEqual(
        Array.from({ length: 6 }, () => run.map((bytes) => [...bytes])).flat(),
      );
      const sent = a.plane.counters.snapshot();
      expect(sent).toMatchObject({ packetsToPeers: 240, packetsInAggregatesSent: 240, aggregatesRefused: 0 });
      const received = b.plane.counters.snapshot();
      // The first 128 packets show that they come in runs; the rest is received so.
      expect(received.packetsInAggregatesReceived).toBeGreaterThanOrEqual(80);
      expect(received.packetsFromPeers).toBe(240);
    });
  });

  test("whatever headers a receiver puts around the packets of an aggregate, none harms another", () => {
    withPlanes(libc, {}, (a, b) => {
      const warm = Array.from({ length: 64 }, () => payload(500, 9));
      for (let round = 0; round < 4; round++) burst(a, b, warm);
      drain(b);
      const headers: number[] = [];
      b.receiver.onPeerPacket = (_socket, _peer, buffer, offset, length) => {
        const header = headers.shift() ?? 0;
        const padding = header === 36 ? (4 - (length & 3)) & 3 : 0;
        buffer.fill(0xee, offset - header, offset);
        buffer.fill(0xff, offset + length, offset + length + padding);
        const total = header + length + padding;
        b.plane.sendToClient(0, 0, a.listener, buffer, offset - header, total);
      };
      const sizes = fc.array(fc.tuple(fc.integer({ min: 1, max: 1400 }), fc.integer({ min: 1, max: 30 })), {
        minLength: 1,
        maxLength: 6,
      });
      fc.assert(
        fc.property(sizes, fc.infiniteStream(fc.constantFrom(4, 4, 4, 36, 0)), (runs, stream) => {
          const packets = runs.flatMap(([size, many]) =>
            Array.from({ length: many }, (_, seed) => payload(size, seed)),
          );
          headers.splice(0, headers.length, ...stream.take(packets.length));
          const expected = packets.map((bytes, index) => {
            const header = headers[index] ?? 0;
            const padding = header === 36 ? (4 - (bytes.length & 3)) & 3 : 0;
            return [...Array(header).fill(0xee), ...bytes, ...Array(padding).fill(0xff)];
          });
          a.receiver.seen.length = 0;
          burst(a, b, packets);
          drain(b);
          drain(a);
          expect(a.receiver.seen.slice(1).map(({ bytes }) => bytes)).toEqual(expected);
        }),
        { numRuns: 40 },
      );
      expect(b.plane.counters.snapshot().aggregatesReceived).toBeGreaterThan(10);
    });
  });

  test("an aggregate that the kernel refuses goes out packet by packet, and is not tried again", () => {
    let refused = 0;
    const refusing: Libc = {
      ...libc,
      sendmsg: (fd, message, flags) => {
        // The plane sends a lone packet by `sendto`: a message of this burst is the aggregate.
        if (refused === 0) {
          refused++;
          return -1;
        }
        return libc.sendmsg(fd, message, flags);
      },
      errno: () => (refused === 1 ? L.EINVAL : libc.errno()),
    };
    withPlanes(refusing, {}, (a, b) => {
      const run = Array.from({ length: 10 }, (_, seed) => payload(1200, seed));
      burst(a, b, run);
      burst(a, b, run);
      drain(b);
      expect(b.receiver.seen.map(({ bytes }) => bytes)).toEqual([...run, ...run].map((bytes) => [...bytes]));
      expect(a.plane.counters.snapshot()).toMatchObject({ aggregatesRefused: 1, aggregatesSent: 0, sendErrors: 0 });
    });
  });

  test("without aggregates, everything arrives one by one", () => {
    withPlanes(libc, { receiveAggregates: false, sendAggregates: false }, (a, b) => {
      const run = Array.from({ length: 200 }, (_, seed) => payload(100, seed));
      burst(a, b, run);
      drain(b);
      expect(b.receiver.seen).toHaveLength(200);
      expect(a.plane.counters.snapshot().aggregatesSent + b.plane.counters.snapshot().aggregatesReceived).toBe(0);
    });
  });

  test("drops of a full receive buffer are counted", () => {
    withPlanes(libc, { bufferBytes: 8192, receiveAggregates: false, sendAggregates: false }, (a, b) => {
      burst(
        a,
        b,
        Array.from({ length: 200 }, () => payload(1000, 1)),
      );
      drain(b);
      b.plane.sampleDrops();
      const { packetsFromPeers, receiveOverflow } = b.plane.counters.snapshot();
      expect(receiveOverflow).toBeGreaterThan(0);
      expect(packetsFromPeers + receiveOverflow).toBe(200);
    });
  });

  test("a peer that refuses is told to the receiver, and what follows arrives", () => {
    withPlanes(libc, {}, (a, b) => {
      const gone = opened((done) => b.plane.openRelaySocket(LOOPBACK, done));
      b.plane.closeRelaySocket(gone.socket, () => {});
      a.plane.sendToPeer(a.relay.socket, gone.local, payload(10, 1), 0, 10, false);
      for (let i = 0; i < 5; i++) a.plane.sendToPeer(a.relay.socket, b.relay.local, payload(20, i), 0, 20, false);
      a.plane.turn(1000);
      drain(b);
      expect(b.receiver.seen).toHaveLength(5);
      expect(a.receiver.icmp).toEqual([`${a.relay.socket} ${gone.local.port} 3/3`]);
      expect(a.plane.counters.snapshot()).toMatchObject({ icmpErrors: 1, sendErrors: 0, packetsToPeers: 6 });
    });
  });

  test("DSCP and ECN of what comes in are on what goes out (RFC 8656 §14)", () => {
    const MARK = 0xb9;
    const value = new Uint8Array(Int32Array.of(MARK).buffer);
    const made: number[] = [];
    const marking: Libc = {
      ...libc,
      socket: (domain, type, protocol) => {
        const fd = libc.socket(domain, type, protocol);
        made.push(fd);
        return fd;
      },
    };
    let marked = 0;
    const watching: Libc = {
      ...libc,
      // Only a packet that carries a mark, alone as it is, needs more than `sendto`.
      sendmsg: (fd, message, flags) => {
        marked++;
        return libc.sendmsg(fd, message, flags);
      },
    };
    const sides = [new Side(marking, {}), new Side(libc, {}), new Side(watching, {}), new Side(libc, {})] as const;
    const [sender, first, second, sink] = sides;
    const forwardTo = (from: Side, to: Side): void => {
      from.receiver.onPeerPacket = (socket, _peer, buffer, offset, length) =>
        from.plane.sendToPeer(socket, to.relay.local, buffer, offset, length, false);
    };
    forwardTo(first, second);
    forwardTo(second, sink);
    const send = (): void => {
      sender.plane.sendToPeer(sender.relay.socket, first.relay.local, payload(5, 0), 0, 5, false);
      first.plane.turn(1000);
      second.plane.turn(1000);
      drain(sink);
    };
    send();
    expect(marked).toBe(0);
    for (const fd of made) expect(libc.setsockopt(fd, L.IPPROTO_IP, L.IP_TOS, libc.addressOf(value), 4)).toBe(0);
    send();
    expect(marked).toBe(1);
    expect(sink.receiver.seen).toHaveLength(2);
    for (const { plane } of sides) void plane.stop();
  });

  test("a busy plane asks for the class of packets at times, and for each again when it is busy no more", () => {
    const asked: number[] = [];
    const recording: Libc = {
      ...libc,
      setsockopt: (fd, level, name, value, length) => {
        if (level === L.IPPROTO_IP && name === L.IP_RECVTOS) asked.push(fd);
        return libc.setsockopt(fd, level, name, value, length);
      },
    };
    const sides = [new Side(libc, {}), new Side(recording, {})] as const;
    const [a, b] = sides;
    // Both of its sockets, as they were opened; what follows is by traffic.
    expect(asked).toHaveLength(2);
    const many = Array.from({ length: 60 }, () => payload(20, 1));
    for (let round = 0; round < 100; round++) {
      burst(a, b, many);
      drain(b);
    }
    asked.length = 0;
    b.plane.sampleDrops();
    expect(b.plane.counters.snapshot().packetsFromPeers).toBeGreaterThan(5000);
    expect(asked).toHaveLength(2);
    b.plane.sampleDrops();
    expect(asked).toHaveLength(4);
    for (const { plane } of sides) void plane.stop();
  });

  test("short runs become aggregates only where a socket sends nothing else, and all arrive in order", () => {
    withPlanes(libc, {}, (a, b) => {
      const other = opened((done) => b.plane.openRelaySocket(LOOPBACK, done));
      const run = (length: number, to: TransportAddress): void => {
        for (let seed = 0; seed < length; seed++) {
          a.plane.sendToPeer(a.relay.socket, to, payload(100, seed), 0, 100, false);
        }
      };
      const aggregates = (act: () => void): number[] => {
        const before = a.plane.counters.snapshot();
        a.plane.together(act);
        const after = a.plane.counters.snapshot();
        return [
          after.aggregatesSent - before.aggregatesSent,
          after.packetsInAggregatesSent - before.packetsInAggregatesSent,
        ];
      };
      expect(aggregates(() => run(2, b.relay.local))).toEqual([1, 2]);
      const mixed = (): void => {
        run(3, b.relay.local);
        run(4, other.local);
        run(3, b.relay.local);
      };
      expect(aggregates(mixed)).toEqual([1, 4]);
      drain(b);
      const expected = [2, 3, 3].flatMap((length) => Array.from({ length }, (_, seed) => [...payload(100, seed)]));
      const four = Array.from({ length: 4 }, (_, seed) => [...payload(100, seed)]);
      const seen = b.receiver.seen.map(({ bytes }) => bytes);
      expect(seen).toHaveLength(12);
      // Two sockets: whichever is read first.
      expect([
        [...expected, ...four],
        [...four, ...expected],
      ]).toContainEqual(seen);
    });
  });
}
