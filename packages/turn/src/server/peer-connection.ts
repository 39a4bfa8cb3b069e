import type { TransportAddress } from "@turnpike/stun";
import type { Allocation, ClientAddress } from "./allocation.ts";

/** A TCP connection between a relayed transport address and a peer (RFC 6062 §2). */
export class PeerConnection {
  readonly kind = "connection";
  readonly allocation: Allocation;
  readonly peer: TransportAddress;
  /** CONNECTION-ID: an unsigned 32-bit integer. */
  readonly id: number;
  /** The caller's handle; undefined while it is being dialled. */
  handle: number | undefined;
  /** The client data connection, once ConnectionBind was answered. */
  data: ClientAddress | undefined;

  constructor(options: {
    readonly allocation: Allocation;
    readonly peer: TransportAddress;
    readonly id: number;
    readonly handle?: number;
  }) {
    this.allocation = options.allocation;
    this.peer = options.peer;
    this.id = options.id;
    this.handle = options.handle;
  }
}
