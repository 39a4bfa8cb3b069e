import type { MessageClass } from "./header.ts";
import type { Method } from "./registry/methods.ts";

/** One attribute as it stands on the wire. */
export interface RawAttribute {
  /** 0–0xffff. */
  readonly type: number;
  /** The value without its padding: a view of the message's bytes. */
  readonly value: Uint8Array;
  /** Of the value, in bytes. */
  readonly length: number;
  /** Where the attribute begins (its type field), counted from the first byte of the message. */
  readonly offset: number;
}

/** A decoded STUN message. Everything in it is a view of the buffer that was decoded: valid as long as that is. */
export interface StunMessage {
  readonly class: MessageClass;
  /** The 12-bit method number. */
  readonly method: number;
  /** The method, if it is in the table. */
  readonly methodName: Method | undefined;
  /** 12 bytes. */
  readonly transactionId: Uint8Array;
  /**
   * In their order. What follows MESSAGE-INTEGRITY is left out, except MESSAGE-INTEGRITY-SHA256 and FINGERPRINT; what
   * follows MESSAGE-INTEGRITY-SHA256, except FINGERPRINT (RFC 8489 §14.5, §14.6). Unknown attributes are kept.
   */
  readonly attributes: readonly RawAttribute[];
  /** The whole message. */
  readonly bytes: Uint8Array;
  /** True if it ends with a FINGERPRINT, which is then right. */
  readonly hasFingerprint: boolean;
}

/** What can be wrong with bytes that should be a STUN message. */
export type DecodeErrorCode =
  /** Fewer than the 20 bytes of a header, or outside the buffer. */
  | "tooShort"
  /** The first two bits are not zero. */
  | "notStun"
  /** No magic cookie: an RFC 3489 client, or something else. */
  | "badCookie"
  /** The length field is not that of the packet. */
  | "lengthMismatch"
  | "lengthNotMultipleOf4"
  /** An attribute reaches past the end of the message. */
  | "attributeOverrun"
  /** More than {@link MAXIMUM_ATTRIBUTES}. */
  | "tooManyAttributes"
  /** FINGERPRINT of a wrong length or with a wrong checksum. */
  | "badFingerprint"
  /** FINGERPRINT must be the last attribute (RFC 8489 §14.7). */
  | "fingerprintNotLast";

/** Why bytes are not a STUN message, and where: `offset` counts from the first byte of the message. */
export interface DecodeError {
  readonly code: DecodeErrorCode;
  readonly offset: number;
}

export type DecodeResult =
  | { readonly ok: true; readonly message: StunMessage }
  | { readonly ok: false; readonly error: DecodeError };

/** The most attributes that a message may have. No use of STUN comes near it. */
export const MAXIMUM_ATTRIBUTES = 64;
