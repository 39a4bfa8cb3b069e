import { readUint16, readUint32, writeUint16, writeUint32 } from "../bytes.ts";
import type { AttributeName } from "../registry/attributes.ts";
import { attributes } from "../registry/attributes.ts";
import { type AttributeCodec, decoded, defineAttribute, requireUnsigned, undecodable } from "./codec.ts";

/** RFC 8656 §18.2, in seconds. */
export const lifetime: AttributeCodec<number> = uint32Codec("lifetime");
/** RFC 6062 §6.2.1. */
export const connectionId: AttributeCodec<number> = uint32Codec("connectionId");
/** RFC 8445 §7.1.1: the priority of a peer-reflexive candidate. */
export const priority: AttributeCodec<number> = uint32Codec("priority");
/** RFC 5780 §9.1, which registers it and gives it no use. 32 bits. */
export const cacheTimeout: AttributeCodec<number> = uint32Codec("cacheTimeout");
/** RFC 8489 §14.7. `encodeMessage` writes it, `decodeMessage` checks it. */
export const fingerprint: AttributeCodec<number> = uint32Codec("fingerprint");
/** RFC 8656 §18.1: 16 bits, and 16 reserved. */
export const channelNumber: AttributeCodec<number> = uint16Codec("channelNumber");
/** RFC 5780 §7.5: 16 bits, and 16 of padding. */
export const responsePort: AttributeCodec<number> = uint16Codec("responsePort");
/** RFC 8445 §7.1.3: the 64-bit tie-breaker. */
export const iceControlled: AttributeCodec<bigint> = uint64Codec("iceControlled");
/** RFC 8445 §7.1.3: the 64-bit tie-breaker. */
export const iceControlling: AttributeCodec<bigint> = uint64Codec("iceControlling");

function uint32Codec(name: AttributeName): AttributeCodec<number> {
  return defineAttribute(
    name,
    (value) => {
      requireUnsigned(attributes[name].name, value, 0xffff_ffff);
      const bytes = new Uint8Array(4);
      writeUint32(bytes, 0, value);
      return bytes;
    },
    (value) => (value.length === 4 ? decoded(readUint32(value, 0)) : undecodable("wrongLength")),
  );
}

function uint16Codec(name: AttributeName): AttributeCodec<number> {
  return defineAttribute(
    name,
    (value) => {
      requireUnsigned(attributes[name].name, value, 0xffff);
      const bytes = new Uint8Array(4);
      writeUint16(bytes, 0, value);
      return bytes;
    },
    (value) => (value.length === 4 ? decoded(readUint16(value, 0)) : undecodable("wrongLength")),
  );
}

function uint64Codec(name: AttributeName): AttributeCodec<bigint> {
  return defineAttribute(
    name,
    (value) => {
      if (value < 0n || value >= 1n << 64n) {
        throw new RangeError(`Cannot encode ${attributes[name].name}: ${value} is not an unsigned 64-bit integer`);
      }
      const bytes = new Uint8Array(8);
      writeUint32(bytes, 0, Number(value >> 32n));
      writeUint32(bytes, 4, Number(value & 0xffff_ffffn));
      return bytes;
    },
    (value) =>
      value.length === 8
        ? decoded((BigInt(readUint32(value, 0)) << 32n) | BigInt(readUint32(value, 4)))
        : undecodable("wrongLength"),
  );
}
