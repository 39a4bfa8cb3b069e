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
): Promise<{ plane: PortablePlane; socket: Socket; errors: string[] }> {
  const errors: string[] = [];
  const receiver: PacketReceiver = {
    handleClientPacket: () => {},
    handlePeerPacket: () => {},
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

test("a full send queue drops and counts (security case 18)", async () => {
  const { plane, socket } = await openOne({ maxSendQueueBytes: 1000 });
  Object.defineProperty(socket, "getSendQueueSize", { value: () => 900 });
  const to = transportAddress("127.0.0.1", 9);
  plane.sendToPeer(0, to, new Uint8Array(101), 0, 101, false);
  expect(plane.counters.snapshot()).toMatchObject({ sendQueueFull: 1, packetsToPeers: 0, bytesToPeers: 0 });
  plane.sendToPeer(0, to, new Uint8Array(100), 0, 100, false);
  expect(plane.counters.snapshot()).toMatchObject({ sendQueueFull: 1, packetsToPeers: 1, bytesToPeers: 100 });
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
