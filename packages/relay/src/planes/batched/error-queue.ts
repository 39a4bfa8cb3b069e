import type { AddressRegister } from "@turnpike/stun";
import type { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import { readSocketAddress } from "../../libc/socket-address.ts";
import { PlaneCounter as Counter } from "../counters.ts";
import type { PacketReceiver } from "../plane.ts";
import type { ReceiveRing } from "./receive-ring.ts";
import { SocketRole, type SocketTable } from "./socket-table.ts";

/** What {@link readErrorQueue} works with. */
export interface ErrorQueueParts {
  readonly arena: Arena;
  /** Its last slot is for error queues alone. */
  readonly ring: ReceiveRing;
  readonly sockets: SocketTable;
  readonly counters: Float64Array;
  /** Where the peer's address is written. */
  readonly peer: AddressRegister;
}

/** Entries of one socket's error queue that one turn reads. */
const ERRORS_PER_TURN = 16;
/** RFC 792, RFC 1191 §4. */
const FRAGMENTATION_NEEDED = { type: 3, code: 4 } as const;
/** RFC 4443 §3.2. */
const PACKET_TOO_BIG = { type: 2, code: 0 } as const;

/** Reads what became of packets that `socket` sent (IP_RECVERR), and tells `receiver` of ICMP errors on relay sockets. */
export function readErrorQueue(parts: ErrorQueueParts, socket: number, receiver: PacketReceiver | undefined): void {
  const { arena, ring, sockets, counters, peer } = parts;
  const { words, bytes } = arena;
  const slot = ring.slots - 1;
  for (let i = 0; i < ERRORS_PER_TURN; i++) {
    count(counters, Counter.systemCalls);
    const length = ring.receiveError(sockets.fds[socket] ?? -1, slot);
    if (length < 0) {
      ring.rearm(slot);
      return;
    }
    const error = ring.extendedErrorOffset(slot);
    ring.rearm(slot);
    if (error < 0) continue;
    const origin = bytes[error + L.extendedError.origin] ?? 0;
    const tooLarge = origin === L.SO_EE_ORIGIN_LOCAL && words[error >> 2] === L.EMSGSIZE;
    if (!tooLarge && origin !== L.SO_EE_ORIGIN_ICMP && origin !== L.SO_EE_ORIGIN_ICMP6) continue;
    count(counters, Counter.icmpErrors);
    if (sockets.roles[socket] !== SocketRole.relay) continue;
    if (!readSocketAddress(words, ring.nameOffset(slot), peer)) continue;
    const data = words[(error + L.extendedError.info) >> 2] ?? 0;
    // What our own machine finds too large is what the next hop would have said (RFC 8656 §14).
    const own = peer.family === 4 ? FRAGMENTATION_NEEDED : PACKET_TOO_BIG;
    const { type, code } = tooLarge
      ? own
      : { type: bytes[error + L.extendedError.type] ?? 0, code: bytes[error + L.extendedError.code] ?? 0 };
    const carriesMtu = type === own.type && code === own.code;
    receiver?.handlePeerIcmp(socket, peer, { type, code, data: carriesMtu ? data : 0 });
  }
}

function count(counters: Float64Array, index: number): void {
  counters[index] = (counters[index] ?? 0) + 1;
}
