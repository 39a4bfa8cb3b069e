import { paddedLength, readUint16, readUint32 } from "./bytes.ts";
import { fingerprintOf } from "./fingerprint.ts";
import {
  ATTRIBUTE_HEADER_LENGTH,
  classOfType,
  hasMagicCookie,
  HEADER_LENGTH,
  isStun,
  methodOfType,
  TRANSACTION_ID_LENGTH,
} from "./header.ts";
import {
  type DecodeErrorCode,
  type DecodeResult,
  MAXIMUM_ATTRIBUTES,
  type RawAttribute,
  type StunMessage,
} from "./message.ts";
import { attributes, isComprehensionRequired } from "./registry/attributes.ts";
import { methodName } from "./registry/methods.ts";

/**
 * Decodes the STUN message that fills `bytes[offset, offset + length)`, by default all of `bytes`. Never throws and
 * never reads outside. The message is a view: copy `bytes` first if they are going to be overwritten.
 */
export function decodeMessage(bytes: Uint8Array, offset = 0, length: number = bytes.length - offset): DecodeResult {
  if (!(length >= HEADER_LENGTH && offset >= 0 && offset + length <= bytes.length)) return failure("tooShort", 0);
  const whole = offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length);
  if (!isStun(whole[0]!)) return failure("notStun", 0);
  if (!hasMagicCookie(whole, 0)) return failure("badCookie", 4);
  const bodyLength = readUint16(whole, 2);
  if ((bodyLength & 3) !== 0) return failure("lengthNotMultipleOf4", 2);
  if (bodyLength + HEADER_LENGTH !== whole.length) return failure("lengthMismatch", 2);

  const counting: RawAttribute[] = [];
  let seen = 0;
  let integrity: Integrity = 0;
  let hasFingerprint = false;
  let at = HEADER_LENGTH;
  while (at < whole.length) {
    if (hasFingerprint) return failure("fingerprintNotLast", at);
    if (++seen > MAXIMUM_ATTRIBUTES) return failure("tooManyAttributes", at);
    const type = readUint16(whole, at);
    const valueLength = readUint16(whole, at + 2);
    const end = at + ATTRIBUTE_HEADER_LENGTH + paddedLength(valueLength);
    if (end > whole.length) return failure("attributeOverrun", at);
    if (type === FINGERPRINT) {
      if (valueLength !== 4 || readUint32(whole, at + 4) !== fingerprintOf(whole, 0, at)) {
        return failure("badFingerprint", at);
      }
      hasFingerprint = true;
      counting.push(new AttributeView(type, at, valueLength, whole));
    } else if (integrity === 0 || (integrity === 1 && type === MESSAGE_INTEGRITY_SHA256)) {
      if (type === MESSAGE_INTEGRITY) integrity = 1;
      else if (type === MESSAGE_INTEGRITY_SHA256) integrity = 2;
      counting.push(new AttributeView(type, at, valueLength, whole));
    }
    at = end;
  }

  const type = readUint16(whole, 0);
  const method = methodOfType(type);
  return {
    ok: true,
    message: {
      class: classOfType(type),
      method,
      methodName: methodName(method),
      transactionId: whole.subarray(8, 8 + TRANSACTION_ID_LENGTH),
      attributes: counting,
      bytes: whole,
      hasFingerprint,
    },
  };
}

/**
 * The comprehension-required attribute types of `message` that are not in `known`, each once, in their order: what a
 * 420 answers with, and what makes a response or an indication useless (RFC 8489 §6.3).
 */
export function unknownComprehensionRequired(message: StunMessage, known: ReadonlySet<number>): number[] {
  const unknown: number[] = [];
  for (const { type } of message.attributes) {
    if (isComprehensionRequired(type) && !known.has(type) && !unknown.includes(type)) unknown.push(type);
  }
  return unknown;
}

const FINGERPRINT = attributes.fingerprint.number;
const MESSAGE_INTEGRITY = attributes.messageIntegrity.number;
const MESSAGE_INTEGRITY_SHA256 = attributes.messageIntegritySha256.number;

/** Which integrity attribute was seen: none, MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256. */
type Integrity = 0 | 1 | 2;

/** Makes the view of a value when it is asked for: most attributes of most messages are only looked at by type. */
class AttributeView implements RawAttribute {
  readonly type: number;
  readonly offset: number;
  readonly length: number;
  readonly #message: Uint8Array;

  constructor(type: number, offset: number, length: number, message: Uint8Array) {
    this.type = type;
    this.offset = offset;
    this.length = length;
    this.#message = message;
  }

  get value(): Uint8Array {
    const start = this.offset + ATTRIBUTE_HEADER_LENGTH;
    return this.#message.subarray(start, start + this.length);
  }
}

function failure(code: DecodeErrorCode, offset: number): DecodeResult {
  return { ok: false, error: { code, offset } };
}
