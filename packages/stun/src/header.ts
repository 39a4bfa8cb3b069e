import { readInt32, writeUint16, writeUint32 } from "./bytes.ts";

/** RFC 8489 §5: the class of a message. `success` and `error` are the two kinds of response. */
export type MessageClass = "request" | "indication" | "success" | "error";

/** Length of the STUN header in bytes (RFC 8489 §5). */
export const HEADER_LENGTH = 20;
/** RFC 8489 §5. */
export const MAGIC_COOKIE = 0x2112a442;
/** Length of a transaction id in bytes. */
export const TRANSACTION_ID_LENGTH = 12;
/** Length of the type and length fields before every attribute value, in bytes. */
export const ATTRIBUTE_HEADER_LENGTH = 4;

/** True if a packet that begins with this byte can be STUN: its first two bits are zero (RFC 8489 §5). */
export function isStun(firstByte: number): boolean {
  return (firstByte & 0xc0) === 0;
}

/** The message type field: method bits M11–M0 with the class bits C1 and C0 between them (RFC 8489 §5, figure 3). */
export function messageType(messageClass: MessageClass, method: number): number {
  return ((method & 0xf80) << 2) | ((method & 0x070) << 1) | (method & 0x00f) | CLASS_BITS[messageClass];
}

/** The class in a message type field. */
export function classOfType(type: number): MessageClass {
  return CLASSES[((type >>> 7) & 2) | ((type >>> 4) & 1)]!;
}

/** The method number in a message type field. */
export function methodOfType(type: number): number {
  return ((type & 0x3e00) >>> 2) | ((type & 0x00e0) >>> 1) | (type & 0x000f);
}

/** Writes the 20 bytes of a header. `length` is that of the attributes. */
export function writeHeader(
  bytes: Uint8Array,
  offset: number,
  type: number,
  length: number,
  transactionId: Uint8Array,
): void {
  writeUint16(bytes, offset, type);
  writeUint16(bytes, offset + 2, length);
  writeUint32(bytes, offset + 4, MAGIC_COOKIE);
  for (let index = 0; index < TRANSACTION_ID_LENGTH; index++) {
    bytes[offset + 8 + index] = transactionId[index]!;
  }
}

export function hasMagicCookie(bytes: Uint8Array, offset: number): boolean {
  return readInt32(bytes, offset + 4) === MAGIC_COOKIE;
}

const CLASSES: readonly MessageClass[] = ["request", "indication", "success", "error"];
const CLASS_BITS: Readonly<Record<MessageClass, number>> = {
  request: 0x000,
  indication: 0x010,
  success: 0x100,
  error: 0x110,
};
