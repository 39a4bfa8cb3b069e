import type { ForwardingPlane, Opened, PacketReceiver } from "@turnpike/relay";
import { AddressRegister, transportAddress } from "@turnpike/stun";
import { PACKET_HEADROOM, PACKET_TAILROOM } from "@turnpike/turn";
import { expect } from "vitest";

/** What a test does to the system under a plane. */
export interface PlaneFaults {
  /** While it returns a code, the system refuses every send with that code. */
  readonly failSends?: () => string | undefined;
  /** Asked before each receive; with a code, the system refuses that one. What arrived stays where it is. */
  readonly failReceives?: () => string | undefined;
  /** Size of the kernel's buffers that sockets ask for. Default: the plane's own. */
  readonly bufferBytes?: number;
}

/** What a plane brings to its test. */
export interface PlaneHarness {
  createPlane(faults?: PlaneFaults): ForwardingPlane;
  /** Whether the plane sees ICMP errors for what it sent. */
  readonly seesIcmp: boolean;
  /** Has the plane read what the kernel dropped; undefined for planes that can't see it. */
  readonly readDrops?: (plane: ForwardingPlane) => void;
}

/** Sends everything back where it came from, as long as nothing else is set. */
export class TestReceiver implements PacketReceiver {
  peerPackets = 0;
  readonly errors: string[] = [];
  onPeerPacket: PacketReceiver["handlePeerPacket"];
  onClientPacket: PacketReceiver["handleClientPacket"];

  constructor(plane: ForwardingPlane) {
    this.onPeerPacket = (socket, peer, buffer, offset, length) =>
      plane.sendToPeer(socket, peer, buffer, offset, length, false);
    this.onClientPacket = (source, buffer, offset, length) => {
      const to = new AddressRegister();
      to.set(source.remote);
      plane.sendToClient(source.listener, source.connection, to, buffer, offset, length);
    };
  }

  handleClientPacket: PacketReceiver["handleClientPacket"] = (source, buffer, offset, length) => {
    expectRoom(buffer, offset, length);
    expect(source.connection).toBe(0);
    this.onClientPacket(source, buffer, offset, length);
  };

  handlePeerPacket: PacketReceiver["handlePeerPacket"] = (socket, peer, buffer, offset, length) => {
    this.peerPackets++;
    expectRoom(buffer, offset, length);
    this.onPeerPacket(socket, peer, buffer, offset, length);
  };

  handlePeerIcmp(): void {}

  handleRelaySocketError(socket: number, code: string): void {
    this.errors.push(`${socket} ${code}`);
  }
}

function expectRoom(buffer: Uint8Array, offset: number, length: number): void {
  expect(offset).toBeGreaterThanOrEqual(PACKET_HEADROOM);
  expect(buffer.length - offset - length).toBeGreaterThanOrEqual(PACKET_TAILROOM);
}

type OpenedSocket = Extract<Opened, { kind: "opened" }>;

export async function openRelay(plane: ForwardingPlane, address = "127.0.0.1"): Promise<OpenedSocket> {
  return expectOpened(await new Promise((done) => plane.openRelaySocket(transportAddress(address, 0), done)));
}

export async function openListener(
  plane: ForwardingPlane,
  id: number,
  address = "127.0.0.1",
  port = 0,
): Promise<OpenedSocket> {
  return expectOpened(await new Promise((done) => plane.openListener(id, transportAddress(address, port), done)));
}

export function closeRelay(plane: ForwardingPlane, socket: number): Promise<void> {
  return new Promise((done) => plane.closeRelaySocket(socket, done));
}

function expectOpened(opened: Opened): OpenedSocket {
  if (opened.kind !== "opened") {
    throw new Error(`Cannot open a socket: ${opened.code}`);
  }
  expect(opened.local.port).toBeGreaterThan(0);
  return opened;
}

/** Bytes that tell their place, so that a shifted or cut packet can't pass for the whole one. */
export function pattern(length: number): Uint8Array {
  return PATTERN.slice(0, length);
}

export const PATTERN: Uint8Array = Uint8Array.from(
  { length: 70_000 },
  (_, index) => (index * 31 + (index >> 8)) & 0xff,
);

/** Where `bytes` leaves the pattern of `length` bytes, or ends too early or too late; -1 if nowhere. */
export function firstDifference(bytes: Uint8Array, length: number): number {
  if (Buffer.compare(bytes, PATTERN.subarray(0, length)) === 0) {
    return -1;
  }
  const differs = bytes.findIndex((byte, at) => byte !== PATTERN[at]);
  return differs === -1 ? Math.min(bytes.length, length) : differs;
}
