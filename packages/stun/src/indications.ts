import { addressValueLength, readAddress, writeAddress } from "./attributes/addresses.ts";
import { paddedLength, readUint16, readUint32, writeUint16 } from "./bytes.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { ATTRIBUTE_HEADER_LENGTH, hasMagicCookie, HEADER_LENGTH, messageType, writeHeader } from "./header.ts";
import { AddressRegister, type TransportAddress } from "./ip-address.ts";
import { MAXIMUM_ATTRIBUTES } from "./message.ts";
import { type AttributeEntry, attributes } from "./registry/attributes.ts";
import { methods } from "./registry/methods.ts";

/** The most that {@link writeDataIndicationHeader} writes before a payload: for an IPv6 peer, in bytes. */
export const DATA_INDICATION_HEADROOM = 48;
/** The most that it writes behind a payload. */
export const DATA_INDICATION_TAILROOM = 3;

/**
 * Builds a Data indication (RFC 8656 §11.6) around the payload where it lies: header, XOR-PEER-ADDRESS and the header
 * of DATA end at `payloadOffset`, zeros pad the payload to a multiple of four. Nothing is allocated. The message ends
 * at `payloadOffset + ceil(payloadLength / 4) * 4`.
 *
 * @param transactionId 12 bytes.
 * @returns Where the message begins; -1 if there is too little room around the payload, or it is too long for the
 *   length field. Nothing is written then.
 */
export function writeDataIndicationHeader(
  bytes: Uint8Array,
  payloadOffset: number,
  payloadLength: number,
  peer: TransportAddress,
  transactionId: Uint8Array,
): number {
  const addressLength = addressValueLength(peer.family);
  const start = payloadOffset - HEADER_LENGTH - addressLength - 2 * ATTRIBUTE_HEADER_LENGTH;
  const payloadEnd = payloadOffset + payloadLength;
  const end = payloadOffset + paddedLength(payloadLength);
  const length = end - start - HEADER_LENGTH;
  if (start < 0 || end > bytes.length || length > 0xffff) return -1;
  writeHeader(bytes, start, DATA_INDICATION, length, transactionId);
  const address = start + HEADER_LENGTH;
  writeUint16(bytes, address, XOR_PEER_ADDRESS);
  writeUint16(bytes, address + 2, addressLength);
  writeAddress(bytes, address + ATTRIBUTE_HEADER_LENGTH, peer, bytes, start + 8);
  writeUint16(bytes, payloadOffset - 4, DATA);
  writeUint16(bytes, payloadOffset - 2, payloadLength);
  for (let at = payloadEnd; at < end; at++) bytes[at] = 0;
  return start;
}

/** Why a packet is not a Send indication that can be acted on: {@link SendIndicationView.error}. */
export const SendIndicationError = {
  none: 0,
  /** Another message, or none at all: `decodeMessage` says which. */
  notSendIndication: 1,
  /** Lengths that don't fit together, too many attributes, or a wrong FINGERPRINT. */
  malformed: 2,
  /** A comprehension-required attribute that no TURN server knows. */
  unknownAttribute: 3,
  /** XOR-PEER-ADDRESS is missing or wrong. */
  noPeerAddress: 4,
  /** DATA is missing. */
  noData: 5,
} as const;
export type SendIndicationError = (typeof SendIndicationError)[keyof typeof SendIndicationError];

/** What {@link scanSendIndication} found: a register that is filled again and again. */
export class SendIndicationView {
  /** XOR-PEER-ADDRESS. */
  readonly peer: AddressRegister = new AddressRegister();
  /** Where the value of DATA begins in the buffer that was scanned. */
  dataOffset = 0;
  dataLength = 0;
  /** DONT-FRAGMENT is there (RFC 8656 §14). */
  dontFragment = false;
  /** Which of {@link SendIndicationError}; if it isn't `none`, everything else is meaningless. */
  error: SendIndicationError = 0;
  /** The first comprehension-required attribute that no TURN server knows, or -1. */
  unknownAttribute = -1;
}

/**
 * Reads a Send indication (RFC 8656 §11.2) without allocating anything. It finds what `decodeMessage` and
 * `getAttribute` would find. Never throws and never reads outside `bytes[offset, offset + length)`.
 *
 * @returns true if `out` holds an indication that can be acted on; else `out.error` says why not.
 */
export function scanSendIndication(
  bytes: Uint8Array,
  offset: number,
  length: number,
  out: SendIndicationView,
): boolean {
  out.error = scan(bytes, offset, length, out);
  return out.error === SendIndicationError.none;
}

/** True if the 20 bytes at `offset`, which the caller has checked to be there, begin a Send indication. */
export function isSendIndication(bytes: Uint8Array, offset: number): boolean {
  return readUint16(bytes, offset) === SEND_INDICATION && hasMagicCookie(bytes, offset);
}

const SEND_INDICATION = messageType("indication", methods.send.number);
const DATA_INDICATION = messageType("indication", methods.data.number);
const XOR_PEER_ADDRESS = attributes.xorPeerAddress.number;
const DATA = attributes.data.number;
const DONT_FRAGMENT = attributes.dontFragment.number;
const FINGERPRINT = attributes.fingerprint.number;
const MESSAGE_INTEGRITY = attributes.messageIntegrity.number;
const MESSAGE_INTEGRITY_SHA256 = attributes.messageIntegritySha256.number;

/**
 * By type, 1 for each comprehension-required attribute that a TURN server knows. Known attributes that mean nothing in
 * an indication are ignored (RFC 8489 §6.3); unknown ones make it useless.
 */
const KNOWN: Uint8Array = (() => {
  const rows: readonly AttributeEntry[] = Object.values(attributes);
  const known = new Uint8Array(64);
  for (const { number, reference } of rows) {
    if (number < known.length && /^RFC (?:8489|8656|6062|7635) /.test(reference)) known[number] = 1;
  }
  return known;
})();

function scan(bytes: Uint8Array, offset: number, length: number, out: SendIndicationView): SendIndicationError {
  const end = offset + length;
  if (!(length >= HEADER_LENGTH && offset >= 0 && end <= bytes.length)) return SendIndicationError.notSendIndication;
  if (!isSendIndication(bytes, offset)) return SendIndicationError.notSendIndication;
  if (readUint16(bytes, offset + 2) + HEADER_LENGTH !== length || (length & 3) !== 0) {
    return SendIndicationError.malformed;
  }
  out.dontFragment = false;
  out.unknownAttribute = -1;
  let peerError: SendIndicationError = SendIndicationError.noPeerAddress;
  let peerSeen = false;
  let dataSeen = false;
  let integrity = 0;
  let seen = 0;
  let at = offset + HEADER_LENGTH;
  while (at < end) {
    const type = readUint16(bytes, at);
    const valueLength = readUint16(bytes, at + 2);
    const value = at + ATTRIBUTE_HEADER_LENGTH;
    const next = value + paddedLength(valueLength);
    if (next > end || ++seen > MAXIMUM_ATTRIBUTES) return SendIndicationError.malformed;
    if (type === FINGERPRINT) {
      const right = valueLength === 4 && next === end && readUint32(bytes, value) === fingerprintOf(bytes, offset, at);
      if (!right) return SendIndicationError.malformed;
    } else if (integrity === 0) {
      if (type === DATA) {
        if (!dataSeen) {
          dataSeen = true;
          out.dataOffset = value;
          out.dataLength = valueLength;
        }
      } else if (type === XOR_PEER_ADDRESS) {
        if (!peerSeen && readAddress(bytes, value, valueLength, out.peer, bytes, offset + 8) === undefined) {
          peerError = SendIndicationError.none;
        }
        peerSeen = true;
      } else if (type === DONT_FRAGMENT) {
        out.dontFragment = true;
      } else if (type === MESSAGE_INTEGRITY || type === MESSAGE_INTEGRITY_SHA256) {
        integrity = type;
      } else if (type < 0x8000 && KNOWN[type] !== 1 && out.unknownAttribute < 0) {
        out.unknownAttribute = type;
      }
    }
    at = next;
  }
  if (out.unknownAttribute >= 0) return SendIndicationError.unknownAttribute;
  if (peerError !== SendIndicationError.none) return peerError;
  return dataSeen ? SendIndicationError.none : SendIndicationError.noData;
}
