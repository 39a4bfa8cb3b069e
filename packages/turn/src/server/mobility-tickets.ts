import { encodeUtf8, type StunCrypto } from "@turnpike/stun";

const MAC_LENGTH = 16;
const TICKET_LENGTH = 9 + MAC_LENGTH;
const LABEL = encodeUtf8("mobility");

/** What a MOBILITY-TICKET stands for. */
export interface Ticket {
  /** The engine that owns the allocation. */
  readonly engine: number;
  readonly allocation: number;
  /** Counts the moves: each ticket is good for one. */
  readonly sequence: number;
}

/**
 * MOBILITY-TICKETs (RFC 8016 §3.1.2): engine, allocation and the number of the move under a keyed hash. They tell
 * nothing that the five-tuple's owner doesn't know, so they are authenticated and not encrypted.
 */
export class MobilityTickets {
  readonly #key: Uint8Array;
  readonly #crypto: StunCrypto;

  constructor(options: { readonly key: Uint8Array; readonly crypto: StunCrypto }) {
    this.#key = options.key;
    this.#crypto = options.crypto;
  }

  issue(ticket: Ticket): Uint8Array {
    const bytes = new Uint8Array(TICKET_LENGTH);
    const view = new DataView(bytes.buffer);
    view.setUint8(0, ticket.engine);
    view.setUint32(1, ticket.allocation);
    view.setUint32(5, ticket.sequence);
    bytes.set(this.#mac(bytes.subarray(0, 9)), 9);
    return bytes;
  }

  /** Undefined if this relay never gave out such a ticket. */
  open(bytes: Uint8Array): Ticket | undefined {
    if (bytes.length !== TICKET_LENGTH) return undefined;
    const expected = this.#mac(bytes.subarray(0, 9));
    let difference = 0;
    for (let i = 0; i < MAC_LENGTH; i++) difference |= expected[i]! ^ bytes[9 + i]!;
    if (difference !== 0) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return { engine: view.getUint8(0), allocation: view.getUint32(1), sequence: view.getUint32(5) };
  }

  #mac(body: Uint8Array): Uint8Array {
    return this.#crypto.hmac("sha256", this.#key, [LABEL, body]).subarray(0, MAC_LENGTH);
  }
}
