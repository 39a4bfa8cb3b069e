import { createSocket, type Socket } from "node:dgram";
import { transportAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import type { PacketReceiver } from "../plane.ts";
import { PortablePlane, type PortablePlaneOptions } from "./portable-plane.ts";

const LOOPBACK = transportAddress("127.0.0.1", 0);

/** A plane with one relay socket, whose `dgram` socket the test holds. */
async function openOne(
  options: PortablePlaneOptions,
  prepare: (socket: Socket) => void = () => {},
  isEcho = false,
): Promise<{ plane: PortablePlane; socket: Socket; errors: string[] }> {
  const errors: string[] = [];
  const receiver: PacketReceiver = {
    handleClientPacket: () => {},
    handlePeerPacket: (...packet) => {
      if (isEcho) plane.sendToPeer(...packet, false);
    },
    handlePeerIcmp: () => {},
    handleRelaySocketError: (socket, code) => errors.push(`${socket} ${code}`),
  };
  const sockets: Socket[] = [];
  const plane = new PortablePlane({
    ...options,
    createSocket: (socketOptions) => {
      const made = createSocket(socketOptions);
      prepare(made);
      sockets.push(made);
      return made;
    },
  });
  plane.start(receiver);
  await new Promise((done) => plane.openRelaySocket(LOOPBACK, done));
  const [socket] = sockets;
  if (socket === undefined) {
    throw new Error("The plane made no socket");
  }
  return { plane, socket, errors };
}

/** Of a socket whose sends go nowhere, and which says what it is told to. */
function fakeSends(socket: Socket): {
  readonly sent: { readonly bytes: Uint8Array; readonly isAsked: boolean }[];
  error: Error | null;
  queued: number;
} {
  const fake: ReturnType<typeof fakeSends> = { sent: [], error: null, queued: 0 };
  Object.defineProperties(socket, {
    getSendQueueSize: { value: () => fake.queued },
    getSendQueueCount: { value: () => Math.sign(fake.queued) },
    send: {
      value: (bytes: Uint8Array, _port: number, _address: string, done?: (error: Error | null) => void) => {
        fake.sent.push({ bytes, isAsked: done !== undefined });
        done?.(fake.error);
      },
    },
  });
  return fake;
}

const PEER = transportAddress("127.0.0.1", 9);

test("a full send queue drops and counts (security case 18)", async () => {
  const { plane, socket } = await openOne({ maxSendQueueBytes: 1000 });
  const fake = fakeSends(socket);
  fake.queued = 900;
  plane.sendToPeer(0, PEER, new Uint8Array(100), 0, 100, false);
  expect(plane.counters.snapshot()).toMatchObject({ sendQueueFull: 0, packetsToPeers: 1, bytesToPeers: 100 });
  plane.sendToPeer(0, PEER, new Uint8Array(101), 0, 101, false);
  expect(plane.counters.snapshot()).toMatchObject({ sendQueueFull: 1, packetsToPeers: 1, bytesToPeers: 100 });
  plane.sendToPeer(0, PEER, new Uint8Array(100), 0, 100, false);
  fake.queued = 0;
  plane.sendToPeer(0, PEER, new Uint8Array(1000), 0, 1000, false);
  expect(plane.counters.snapshot()).toMatchObject({ sendQueueFull: 1, packetsToPeers: 3, bytesToPeers: 1200 });
  await plane.stop();
});

test("what waits to be sent isn't written over by the next packet; else one buffer serves all", async () => {
  const { plane, socket } = await openOne({}, () => {}, true);
  const fake = fakeSends(socket);
  for (const [index, queued] of [0, 0, 1, 1, 0, 0, 0].entries()) {
    fake.queued = queued;
    socket.emit("message", Buffer.alloc(3, index), { address: "127.0.0.1", port: 9, family: "IPv4", size: 3 });
  }
  // The third had to wait in the buffer of the first two; what follows while something waits is sent as a copy.
  expect(fake.sent.map(({ bytes }) => bytes[0])).toEqual([2, 2, 2, 3, 4, 6, 6]);
  expect(new Set(fake.sent.map(({ bytes }) => bytes.buffer)).size).toBe(4);
  await plane.stop();
});

test("asks about each send until 64 went well, then about every sixteenth, and again about each after an error", async () => {
  const { plane, socket } = await openOne({});
  const fake = fakeSends(socket);
  const send = (count: number): number => {
    const before = fake.sent.length;
    for (let index = 0; index < count; index++) plane.sendToPeer(0, PEER, new Uint8Array(1), 0, 1, false);
    return fake.sent.slice(before).filter(({ isAsked }) => isAsked).length;
  };
  expect([send(64), send(160)]).toEqual([64, 10]);
  expect(plane.counters.snapshot().sendErrors).toBe(0);
  fake.error = new Error("EPERM");
  expect(send(16)).toBeGreaterThanOrEqual(1);
  const { sendErrors } = plane.counters.snapshot();
  expect(send(100)).toBe(100);
  expect(plane.counters.snapshot().sendErrors).toBe(sendErrors + 100);
  fake.error = null;
  expect([send(64), send(160)]).toEqual([64, 10]);
  await plane.stop();
});

test("a socket outlives errors of one packet, and reports those that end it", async () => {
  const { plane, socket, errors } = await openOne({});
  for (const code of ["ECONNREFUSED", "ENOBUFS", "EMSGSIZE", "EPERM", "EAGAIN", "ECONNRESET"]) {
    socket.emit("error", Object.assign(new Error(code), { code }));
  }
  expect(errors).toEqual([]);
  socket.emit("error", Object.assign(new Error("EBADF"), { code: "EBADF" }));
  socket.emit("error", new TypeError("no code"));
  expect(errors).toEqual(["0 EBADF", "0 TypeError"]);
  expect(plane.counters.snapshot().receiveErrors).toBe(8);
  await plane.stop();
});

test("asks for large buffers, and for less where the system refuses", async () => {
  const asked: number[] = [];
  const { plane } = await openOne({}, (socket) => {
    Object.defineProperty(socket, "setRecvBufferSize", {
      value: (size: number) => {
        asked.push(size);
        if (size > 1024 * 1024) {
          throw new Error("ENOBUFS");
        }
      },
    });
  });
  expect(asked).toEqual([4 * 1024 * 1024, 2 * 1024 * 1024, 1024 * 1024]);
  await plane.stop();
});

test("a packet from an address with a zone is counted, not delivered", async () => {
  const { plane, socket } = await openOne({});
  socket.emit("message", Buffer.from("x"), { address: "fe80::1%eth0", port: 9, family: "IPv6", size: 1 });
  expect(plane.counters.snapshot()).toMatchObject({ packetsFromPeers: 1, receiveErrors: 1 });
  await plane.stop();
});
