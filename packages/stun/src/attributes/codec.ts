import { ATTRIBUTE_HEADER_LENGTH } from "../header.ts";
import type { RawAttribute, StunMessage } from "../message.ts";
import { type AttributeName, attributes } from "../registry/attributes.ts";

/** What a codec may need to know of the message around an attribute. */
export interface AttributeContext {
  /** 12 bytes. The XOR addresses are mixed with it. */
  readonly transactionId: Uint8Array;
}

/** What can be wrong with the value of an attribute. */
export type AttributeErrorCode =
  | "wrongLength"
  /** Longer than its RFC allows, in bytes or in characters. */
  | "tooLong"
  | "badUtf8"
  /** An address family other than 0x01 and 0x02. */
  | "badFamily"
  /** A field has a value that its RFC rules out. */
  | "badValue";

/** Why a value can't be decoded, and where: `offset` counts from the first byte of the value. */
export interface AttributeError {
  readonly code: AttributeErrorCode;
  readonly offset: number;
}

export type AttributeResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: AttributeError };

/** How one attribute is written and read. */
export interface AttributeCodec<T> {
  /** The attribute type. */
  readonly type: number;
  /** The name on the wire. */
  readonly name: string;
  /**
   * The value without padding.
   *
   * @throws TypeError or RangeError if `value` can't be said in this attribute.
   */
  encode(value: T, context: AttributeContext): Uint8Array;
  /** Never throws. Byte arrays in the result are views of `value`. */
  decode(value: Uint8Array, context: AttributeContext): AttributeResult<T>;
}

/** An attribute with its value, to be encoded into a message. */
export interface EncodedAttribute {
  readonly type: number;
  encode(context: AttributeContext): Uint8Array;
}

/** Pairs a codec with a value: `attribute(lifetime, 600)`. */
export function attribute<T>(codec: AttributeCodec<T>, value: T): EncodedAttribute {
  return new PairedAttribute(codec, value);
}

/** An attribute of any type, with the bytes of its value. */
export function rawAttribute(type: number, value: Uint8Array): EncodedAttribute {
  return { type, encode: () => value };
}

/**
 * The first occurrence of an attribute; later ones are ignored (RFC 8489 §14).
 *
 * @returns undefined if the message has none.
 */
export function getAttribute<T>(message: StunMessage, codec: AttributeCodec<T>): AttributeResult<T> | undefined {
  const raw = findAttribute(message, codec);
  return raw === undefined ? undefined : codec.decode(raw.value, message);
}

/** Every occurrence, in their order, for the attributes that may be repeated (XOR-PEER-ADDRESS, RFC 8656 §10.1). */
export function getAttributes<T>(message: StunMessage, codec: AttributeCodec<T>): AttributeResult<T>[] {
  return message.attributes.filter((raw) => raw.type === codec.type).map((raw) => codec.decode(raw.value, message));
}

/** Whether the message has an attribute, whatever its value. */
export function hasAttribute(message: StunMessage, codec: { readonly type: number }): boolean {
  return findAttribute(message, codec) !== undefined;
}

/** Makes the codec of a row of the attribute table. */
export function defineAttribute<T>(
  name: AttributeName,
  encode: AttributeCodec<T>["encode"],
  decode: AttributeCodec<T>["decode"],
): AttributeCodec<T> {
  return { type: attributes[name].number, name: attributes[name].name, encode, decode };
}

export function decoded<T>(value: T): AttributeResult<T> {
  return { ok: true, value };
}

export function undecodable(
  code: AttributeErrorCode,
  offset = 0,
): { readonly ok: false; readonly error: AttributeError } {
  return { ok: false, error: { code, offset } };
}

/** @throws RangeError if `value` is not an integer of 0–`maximum`. */
export function requireUnsigned(attributeName: string, value: number, maximum: number): void {
  if (!Number.isInteger(value) || value < 0 || value > maximum) {
    throw new RangeError(`Cannot encode ${attributeName}: ${value} is not an integer from 0 to ${maximum}`);
  }
}

/** The first occurrence of an attribute as it stands on the wire, or undefined. */
export function findAttribute(message: StunMessage, codec: { readonly type: number }): RawAttribute | undefined {
  const { type } = codec;
  const all = message.attributes;
  for (let index = 0; index < all.length; index++) {
    const raw = all[index]!;
    if (raw.type === type) return raw;
  }
  return undefined;
}

/** Where the value of an attribute begins, counted from the first byte of the message. */
export function valueOffset(raw: RawAttribute): number {
  return raw.offset + ATTRIBUTE_HEADER_LENGTH;
}

class PairedAttribute<T> implements EncodedAttribute {
  readonly type: number;
  readonly #codec: AttributeCodec<T>;
  readonly #value: T;

  constructor(codec: AttributeCodec<T>, value: T) {
    this.type = codec.type;
    this.#codec = codec;
    this.#value = value;
  }

  encode(context: AttributeContext): Uint8Array {
    return this.#codec.encode(this.#value, context);
  }
}
