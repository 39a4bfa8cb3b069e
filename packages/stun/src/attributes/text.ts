import type { AttributeName } from "../registry/attributes.ts";
import { attributes } from "../registry/attributes.ts";
import { characterCount, decodeUtf8, encodeUtf8 } from "../utf8.ts";
import { type AttributeCodec, type AttributeResult, decoded, defineAttribute, undecodable } from "./codec.ts";

/** How long a text may be. */
interface TextLimits {
  readonly bytes: number;
  readonly characters: number;
}

/** RFC 8489 §14.8–§14.14: fewer than 128 characters, which may fill 763 bytes. */
export const PHRASE_LIMITS: TextLimits = { bytes: 763, characters: 127 };

/** RFC 8489 §14.3: fewer than 509 bytes of UTF-8. */
export const username: AttributeCodec<string> = textCodec("username", { bytes: 508, characters: 508 });
/** RFC 8489 §14.9. Without the quotes of the grammar. */
export const realm: AttributeCodec<string> = textCodec("realm", PHRASE_LIMITS);
/** RFC 8489 §14.10. Without the quotes of the grammar. */
export const nonce: AttributeCodec<string> = textCodec("nonce", PHRASE_LIMITS);
/** RFC 8489 §14.14. */
export const software: AttributeCodec<string> = textCodec("software", PHRASE_LIMITS);
/** RFC 7635 §6.1: the name of the server as its authorization server knows it. */
export const thirdPartyAuthorization: AttributeCodec<string> = textCodec("thirdPartyAuthorization", {
  bytes: 65_532,
  characters: 65_532,
});
/** RFC 8489 §14.16: a DNS name in ASCII, of at most 255 bytes. */
export const alternateDomain: AttributeCodec<string> = defineAttribute(
  "alternateDomain",
  (name) => {
    if (!isDnsText(name)) throw new TypeError("Cannot encode ALTERNATE-DOMAIN: not a DNS name in ASCII of 1–255 bytes");
    return encodeUtf8(name);
  },
  (value) => {
    if (value.length === 0) return undecodable("wrongLength");
    if (value.length > 255) return undecodable("tooLong", 255);
    const name = decodeUtf8(value);
    return name !== undefined && isDnsText(name) ? decoded(name) : undecodable("badValue");
  },
);

/** Encodes within limits. Used by attributes that hold a text beside something else. */
export function encodeText(name: AttributeName, text: string, limits: TextLimits): Uint8Array {
  const bytes = encodeUtf8(text);
  if (bytes.length > limits.bytes || characterCount(text) > limits.characters) {
    throw new RangeError(
      `Cannot encode ${attributes[name].name}: longer than ${limits.characters} characters or ${limits.bytes} bytes`,
    );
  }
  return bytes;
}

export function decodeText(value: Uint8Array, limits: TextLimits, offset = 0): AttributeResult<string> {
  if (value.length - offset > limits.bytes) return undecodable("tooLong", offset + limits.bytes);
  const text = decodeUtf8(offset === 0 ? value : value.subarray(offset));
  if (text === undefined) return undecodable("badUtf8", offset);
  if (characterCount(text) > limits.characters) return undecodable("tooLong", offset);
  return decoded(text);
}

function textCodec(name: AttributeName, limits: TextLimits): AttributeCodec<string> {
  return defineAttribute(
    name,
    (text) => encodeText(name, text, limits),
    (value) => decodeText(value, limits),
  );
}

/** Printable ASCII without space, 1–255 characters. What a name may be beyond that is the resolver's business. */
function isDnsText(name: string): boolean {
  if (name.length < 1 || name.length > 255) return false;
  for (let index = 0; index < name.length; index++) {
    const code = name.charCodeAt(index);
    if (code <= 0x20 || code >= 0x7f) return false;
  }
  return true;
}
