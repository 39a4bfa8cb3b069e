import { readInt32, readUint16, writeUint16, writeUint32 } from "../bytes.ts";
import { MAGIC_COOKIE } from "../header.ts";
import { AddressRegister, type TransportAddress } from "../ip-address.ts";
import type { AttributeName } from "../registry/attributes.ts";
import { type AttributeCodec, type AttributeErrorCode, decoded, defineAttribute, undecodable } from "./codec.ts";

/** RFC 8489 §14.1. For clients of RFC 3489 only. */
export const mappedAddress: AttributeCodec<TransportAddress> = plainAddress("mappedAddress");
/** RFC 8489 §14.15: the server to use in place of this one. */
export const alternateServer: AttributeCodec<TransportAddress> = plainAddress("alternateServer");
/** RFC 5780 §7.3: where the response was sent from. */
export const responseOrigin: AttributeCodec<TransportAddress> = plainAddress("responseOrigin");
/** RFC 5780 §7.4: the address that answers to CHANGE-REQUEST. */
export const otherAddress: AttributeCodec<TransportAddress> = plainAddress("otherAddress");
/** RFC 8489 §14.2: the client's reflexive transport address. */
export const xorMappedAddress: AttributeCodec<TransportAddress> = xorAddress("xorMappedAddress");
/** RFC 8656 §18.3. */
export const xorPeerAddress: AttributeCodec<TransportAddress> = xorAddress("xorPeerAddress");
/** RFC 8656 §18.5. */
export const xorRelayedAddress: AttributeCodec<TransportAddress> = xorAddress("xorRelayedAddress");

/** Length of an address value in bytes: 8 for IPv4, 20 for IPv6. */
export function addressValueLength(family: 4 | 6): 8 | 20 {
  return family === 4 ? 8 : 20;
}

/**
 * Writes the value of an address attribute. Without `xorKey` it is that of MAPPED-ADDRESS; with it, `xorKey[xorOffset…]`
 * being the transaction id, that of XOR-MAPPED-ADDRESS.
 */
export function writeAddress(
  bytes: Uint8Array,
  offset: number,
  address: TransportAddress,
  xorKey?: Uint8Array,
  xorOffset = 0,
): void {
  const cookie = xorKey === undefined ? 0 : MAGIC_COOKIE;
  bytes[offset] = 0;
  bytes[offset + 1] = address.family === 4 ? 1 : 2;
  writeUint16(bytes, offset + 2, address.port ^ (cookie >>> 16));
  if (address.family === 4) {
    writeUint32(bytes, offset + 4, address.w3 ^ cookie);
    return;
  }
  writeUint32(bytes, offset + 4, address.w0 ^ cookie);
  writeUint32(bytes, offset + 8, address.w1 ^ xorWord(xorKey, xorOffset));
  writeUint32(bytes, offset + 12, address.w2 ^ xorWord(xorKey, xorOffset + 4));
  writeUint32(bytes, offset + 16, address.w3 ^ xorWord(xorKey, xorOffset + 8));
}

/** Reads what {@link writeAddress} writes into `out`. Returns what is wrong with it, or undefined. */
export function readAddress(
  bytes: Uint8Array,
  offset: number,
  length: number,
  out: AddressRegister,
  xorKey?: Uint8Array,
  xorOffset = 0,
): AttributeErrorCode | undefined {
  if (length < 4) return "wrongLength";
  const family = bytes[offset + 1];
  if (family !== 1 && family !== 2) return "badFamily";
  if (length !== (family === 1 ? 8 : 20)) return "wrongLength";
  const cookie = xorKey === undefined ? 0 : MAGIC_COOKIE;
  out.port = readUint16(bytes, offset + 2) ^ (cookie >>> 16);
  if (family === 1) {
    out.family = 4;
    out.w0 = 0;
    out.w1 = 0;
    out.w2 = 0xffff;
    out.w3 = readInt32(bytes, offset + 4) ^ cookie;
    return undefined;
  }
  out.family = 6;
  out.w0 = readInt32(bytes, offset + 4) ^ cookie;
  out.w1 = readInt32(bytes, offset + 8) ^ xorWord(xorKey, xorOffset);
  out.w2 = readInt32(bytes, offset + 12) ^ xorWord(xorKey, xorOffset + 4);
  out.w3 = readInt32(bytes, offset + 16) ^ xorWord(xorKey, xorOffset + 8);
  return undefined;
}

function xorWord(key: Uint8Array | undefined, offset: number): number {
  return key === undefined ? 0 : readInt32(key, offset);
}

function plainAddress(name: AttributeName): AttributeCodec<TransportAddress> {
  return addressCodec(name, false);
}

function xorAddress(name: AttributeName): AttributeCodec<TransportAddress> {
  return addressCodec(name, true);
}

function addressCodec(name: AttributeName, xor: boolean): AttributeCodec<TransportAddress> {
  return defineAttribute(
    name,
    (address, { transactionId }) => {
      const bytes = new Uint8Array(addressValueLength(address.family));
      writeAddress(bytes, 0, address, xor ? transactionId : undefined);
      return bytes;
    },
    (value, { transactionId }) => {
      const register = new AddressRegister();
      const wrong = readAddress(value, 0, value.length, register, xor ? transactionId : undefined);
      if (wrong !== undefined) return undecodable(wrong, wrong === "badFamily" ? 1 : 0);
      const { family, w0, w1, w2, w3, port } = register;
      return decoded({ family, w0, w1, w2, w3, port });
    },
  );
}
