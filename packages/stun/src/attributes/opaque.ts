import type { AttributeName } from "../registry/attributes.ts";
import { attributes } from "../registry/attributes.ts";
import { type AttributeCodec, decoded, defineAttribute, undecodable } from "./codec.ts";

/** RFC 8656 §18.4: the payload of a Send or Data indication. */
export const data: AttributeCodec<Uint8Array> = bytesCodec("data", 0, 65_535);
/** RFC 8489 §14.4: SHA-256 of `username:realm`, 32 bytes. See {@link userhash} of the long-term credentials. */
export const userhash: AttributeCodec<Uint8Array> = bytesCodec("userhash", 32, 32);
/** RFC 8489 §14.5: 20 bytes. `encodeMessage` writes it, `verifyIntegrity` checks it. */
export const messageIntegrity: AttributeCodec<Uint8Array> = bytesCodec("messageIntegrity", 20, 20);
/** RFC 8489 §14.6: 16–32 bytes, a multiple of four. `encodeMessage` writes it, `verifyIntegrity` checks it. */
export const messageIntegritySha256: AttributeCodec<Uint8Array> = bytesCodec("messageIntegritySha256", 16, 32, 4);
/** RFC 8656 §18.10: 8 bytes. */
export const reservationToken: AttributeCodec<Uint8Array> = bytesCodec("reservationToken", 8, 8);
/** RFC 8016 §3.3. Empty in the request that asks for one. */
export const mobilityTicket: AttributeCodec<Uint8Array> = bytesCodec("mobilityTicket", 0, 65_535);
/** RFC 7635 §6.2. */
export const accessToken: AttributeCodec<Uint8Array> = bytesCodec("accessToken", 0, 65_535);
/** RFC 5780 §7.6: makes a message as long as one wants it. */
export const padding: AttributeCodec<Uint8Array> = bytesCodec("padding", 0, 65_535);

function bytesCodec(name: AttributeName, minimum: number, maximum: number, multiple = 1): AttributeCodec<Uint8Array> {
  const fits = (length: number): boolean => length >= minimum && length <= maximum && length % multiple === 0;
  return defineAttribute(
    name,
    (value) => {
      if (!fits(value.length)) {
        throw new RangeError(
          `Cannot encode ${attributes[name].name}: ${value.length} bytes is not a length it may have`,
        );
      }
      return value;
    },
    (value) => (fits(value.length) ? decoded(value) : undecodable("wrongLength")),
  );
}
