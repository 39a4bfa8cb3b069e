import { readUint16, readUint32, writeUint16, writeUint32 } from "../bytes.ts";
import { type AttributeName, attributes } from "../registry/attributes.ts";
import {
  type AttributeCodec,
  type AttributeResult,
  decoded,
  defineAttribute,
  requireUnsigned,
  undecodable,
} from "./codec.ts";
import { decodeText, encodeText, PHRASE_LIMITS } from "./text.ts";

/** The value of ERROR-CODE. */
export interface StunError {
  /** 300–699. */
  readonly code: number;
  /** For people; fewer than 128 characters. `reasonPhrase(code)` gives the usual one. */
  readonly reason: string;
}

/** The value of ADDRESS-ERROR-CODE: why an address of that family was not allocated. */
export interface AddressError extends StunError {
  readonly family: 4 | 6;
}

/** The value of ICMP: what a peer, or a router before it, answered. */
export interface IcmpError {
  /** 0–127: of ICMP or of ICMPv6, as the family of XOR-PEER-ADDRESS says. */
  readonly icmpType: number;
  /** 0–511. */
  readonly icmpCode: number;
  /** For "packet too big" and "fragmentation needed" the MTU, else 0. Unsigned, 32 bits. */
  readonly errorData: number;
}

/** RFC 8489 §14.8. */
export const errorCode: AttributeCodec<StunError> = defineAttribute(
  "errorCode",
  (error) => encodeError("errorCode", error, 0),
  decodeError,
);

/** RFC 8656 §18.12. */
export const addressErrorCode: AttributeCodec<AddressError> = defineAttribute(
  "addressErrorCode",
  (error) => encodeError("addressErrorCode", error, error.family === 4 ? 1 : 2),
  (value) => {
    const error = decodeError(value);
    if (!error.ok) return error;
    const family = value[0];
    if (family !== 1 && family !== 2) return undecodable("badFamily");
    return decoded({ family: family === 1 ? 4 : 6, ...error.value });
  },
);

/** RFC 8489 §14.13: the attribute types that a 420 is about. */
export const unknownAttributes: AttributeCodec<readonly number[]> = defineAttribute(
  "unknownAttributes",
  (types) => {
    const bytes = new Uint8Array(types.length * 2);
    for (const [index, type] of types.entries()) {
      requireUnsigned("UNKNOWN-ATTRIBUTES", type, 0xffff);
      writeUint16(bytes, index * 2, type);
    }
    return bytes;
  },
  (value) => {
    if (value.length % 2 !== 0) return undecodable("wrongLength");
    return decoded(Array.from({ length: value.length / 2 }, (_, index) => readUint16(value, index * 2)));
  },
);

/** RFC 8656 §18.13. */
export const icmp: AttributeCodec<IcmpError> = defineAttribute(
  "icmp",
  ({ icmpType, icmpCode, errorData }) => {
    requireUnsigned("ICMP", icmpType, 0x7f);
    requireUnsigned("ICMP", icmpCode, 0x1ff);
    requireUnsigned("ICMP", errorData, 0xffff_ffff);
    const bytes = new Uint8Array(8);
    writeUint16(bytes, 2, (icmpType << 9) | icmpCode);
    writeUint32(bytes, 4, errorData);
    return bytes;
  },
  (value) => {
    if (value.length !== 8) return undecodable("wrongLength");
    const typeAndCode = readUint16(value, 2);
    return decoded({ icmpType: typeAndCode >>> 9, icmpCode: typeAndCode & 0x1ff, errorData: readUint32(value, 4) });
  },
);

/** The two attributes differ in their first byte only: reserved, or a family. */
function encodeError(name: AttributeName, { code, reason }: StunError, firstByte: number): Uint8Array {
  if (!Number.isInteger(code) || code < 300 || code > 699) {
    throw new RangeError(`Cannot encode ${attributes[name].name}: ${code} is not an integer from 300 to 699`);
  }
  const text = encodeText(name, reason, PHRASE_LIMITS);
  const bytes = new Uint8Array(4 + text.length);
  bytes[0] = firstByte;
  bytes[2] = Math.trunc(code / 100);
  bytes[3] = code % 100;
  bytes.set(text, 4);
  return bytes;
}

function decodeError(value: Uint8Array): AttributeResult<StunError> {
  if (value.length < 4) return undecodable("wrongLength");
  const hundreds = value[2]! & 0x07;
  const rest = value[3]!;
  if (hundreds < 3 || hundreds > 6) return undecodable("badValue", 2);
  if (rest > 99) return undecodable("badValue", 3);
  const reason = decodeText(value, PHRASE_LIMITS, 4);
  return reason.ok ? decoded({ code: hundreds * 100 + rest, reason: reason.value }) : reason;
}
