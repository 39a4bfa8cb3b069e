import { encodeUtf8, type StunCrypto } from "@turnpike/stun";
import { base64Length, readBase64, writeBase64 } from "./base64.ts";

const BODY_LENGTH = 9;
const MAC_LENGTH = 15;
/** What coturn's client has room for: it keeps tickets as text of at most 32 characters. */
const TICKET_LENGTH = base64Length(BODY_LENGTH + MAC_LENGTH);
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
 * MOBILITY-TICKETs (RFC 8016 §3.1.2): engine, allocation and the number of the move under a keyed hash, in Base64. They
 * tell nothing that the five-tuple's owner doesn't know, so they are authenticated and not encrypted.
 */
export class MobilityTickets {
  readonly #key: Uint8Array;
  readonly #crypto: StunCrypto;

  constructor(options: { readonly key: Uint8Array; readonly crypto: StunCrypto }) {
    this.#key = options.key;
    this.#crypto = options.crypto;
  }

  issue(ticket: Ticket): Uint8Array {
    const bytes = new Uint8Array(BODY_LENGTH + MAC_LENGTH);
    const view = new DataView(bytes.buffer);
    view.setUint8(0, ticket.engine);
    view.setUint32(1, ticket.allocation);
    view.setUint32(5, ticket.sequence);
    bytes.set(this.#mac(bytes.subarray(0, BODY_LENGTH)), BODY_LENGTH);
    const text = new Uint8Array(TICKET_LENGTH);
    writeBase64(bytes, text, 0);
    return text;
  }

  /** Undefined if this relay never gave out such a ticket. */
  open(ticket: Uint8Array): Ticket | undefined {
    if (ticket.length !== TICKET_LENGTH) return undefined;
    const bytes = new Uint8Array(BODY_LENGTH + MAC_LENGTH);
    if (!readBase64(ticket, 0, bytes)) return undefined;
    const expected = this.#mac(bytes.subarray(0, BODY_LENGTH));
    let difference = 0;
    for (let i = 0; i < MAC_LENGTH; i++) difference |= expected[i]! ^ bytes[BODY_LENGTH + i]!;
    if (difference !== 0) return undefined;
    const view = new DataView(bytes.buffer);
    return { engine: view.getUint8(0), allocation: view.getUint32(1), sequence: view.getUint32(5) };
  }

  #mac(body: Uint8Array): Uint8Array {
    return this.#crypto.hmac("sha256", this.#key, [LABEL, body]).subarray(0, MAC_LENGTH);
  }
}
