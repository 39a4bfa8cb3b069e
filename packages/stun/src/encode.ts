import type { AttributeContext, EncodedAttribute } from "./attributes/codec.ts";
import { paddedLength, writeUint16, writeUint32 } from "./bytes.ts";
import type { StunCrypto } from "./crypto.ts";
import { fingerprintOf } from "./fingerprint.ts";
import {
  ATTRIBUTE_HEADER_LENGTH,
  HEADER_LENGTH,
  type MessageClass,
  messageType,
  TRANSACTION_ID_LENGTH,
  writeHeader,
} from "./header.ts";
import { INTEGRITY, type IntegrityAlgorithm, integrityOf, SHORTEST_SHA256 } from "./integrity.ts";
import { attributes as registry } from "./registry/attributes.ts";
import { type Method, methods } from "./registry/methods.ts";

/** The key and the algorithm of one integrity attribute. */
export interface MessageIntegrity {
  readonly algorithm: IntegrityAlgorithm;
  /** See {@link longTermKey}. */
  readonly key: Uint8Array;
  readonly crypto: StunCrypto;
  /** Truncates MESSAGE-INTEGRITY-SHA256 to 16, 20, 24 or 28 bytes (RFC 8489 §14.6). Default 32. */
  readonly bytes?: 16 | 20 | 24 | 28 | 32;
}

/** A message to be encoded. */
export interface MessageToEncode extends AttributeContext {
  readonly class: MessageClass;
  readonly method: Method;
  /** In the order in which they are written; without the integrity attributes and FINGERPRINT. */
  readonly attributes: readonly EncodedAttribute[];
  /** MESSAGE-INTEGRITY is written before MESSAGE-INTEGRITY-SHA256, whatever the order here. Default none. */
  readonly integrity?: MessageIntegrity | readonly MessageIntegrity[];
  /** True: ends with FINGERPRINT. Default false. */
  readonly fingerprint?: boolean;
  /** Lends the bytes of the message, so many zeros. Default: memory of its own. */
  readonly allocate?: (length: number) => Uint8Array;
}

/**
 * Encodes a STUN message.
 *
 * @throws TypeError or RangeError if an attribute can't hold its value, the transaction id is not 12 bytes, or the
 *   message is longer than its length field can say.
 */
export function encodeMessage(message: MessageToEncode): Uint8Array {
  const { transactionId, attributes } = message;
  if (transactionId.length !== TRANSACTION_ID_LENGTH) {
    throw new RangeError(`Cannot encode message: a transaction id has 12 bytes, not ${transactionId.length}`);
  }
  const values: Uint8Array[] = [];
  let length = 0;
  for (const attribute of attributes) {
    const value = attribute.encode(message);
    values.push(value);
    length += ATTRIBUTE_HEADER_LENGTH + paddedLength(value.length);
  }
  const integrities = inOrder(message.integrity);
  for (const integrity of integrities) length += ATTRIBUTE_HEADER_LENGTH + valueLength(integrity);
  if (message.fingerprint === true) length += FINGERPRINT_LENGTH;
  if (length > 0xffff) {
    throw new RangeError(`Cannot encode message: ${length} bytes of attributes, at most 65532 fit`);
  }

  const bytes = message.allocate?.(HEADER_LENGTH + length) ?? new Uint8Array(HEADER_LENGTH + length);
  writeHeader(bytes, 0, messageType(message.class, methods[message.method].number), length, transactionId);
  let at = HEADER_LENGTH;
  for (let index = 0; index < values.length; index++) {
    at = writeAttribute(bytes, at, attributes[index]!.type, values[index]!);
  }
  for (const integrity of integrities) {
    const value = integrityOf(bytes, at, valueLength(integrity), integrity);
    at = writeAttribute(bytes, at, INTEGRITY[integrity.algorithm].type, value);
  }
  if (message.fingerprint === true) {
    writeUint16(bytes, at, registry.fingerprint.number);
    writeUint16(bytes, at + 2, 4);
    writeUint32(bytes, at + ATTRIBUTE_HEADER_LENGTH, fingerprintOf(bytes, 0, at));
  }
  return bytes;
}

const FINGERPRINT_LENGTH = ATTRIBUTE_HEADER_LENGTH + 4;
const NONE: readonly MessageIntegrity[] = [];

/** RFC 8489 §14.6: what follows MESSAGE-INTEGRITY-SHA256 is ignored, so MESSAGE-INTEGRITY goes before it. */
function inOrder(integrity: MessageToEncode["integrity"]): readonly MessageIntegrity[] {
  if (integrity === undefined) return NONE;
  if ("algorithm" in integrity) return [integrity];
  return integrity.toSorted((a, b) => INTEGRITY[a.algorithm].length - INTEGRITY[b.algorithm].length);
}

function valueLength({ algorithm, bytes }: MessageIntegrity): number {
  const full = INTEGRITY[algorithm].length;
  if (bytes === undefined) return full;
  if (algorithm === "sha1" || bytes < SHORTEST_SHA256 || bytes > full || bytes % 4 !== 0) {
    throw new RangeError(`Cannot truncate the integrity of ${algorithm} to ${bytes} bytes`);
  }
  return bytes;
}

function writeAttribute(bytes: Uint8Array, at: number, type: number, value: Uint8Array): number {
  writeUint16(bytes, at, type);
  writeUint16(bytes, at + 2, value.length);
  bytes.set(value, at + ATTRIBUTE_HEADER_LENGTH);
  return at + ATTRIBUTE_HEADER_LENGTH + paddedLength(value.length);
}
