import { paddedLength, readUint16, writeUint16 } from "./bytes.ts";

/** Length of the channel number and length fields before the data (RFC 8656 §12.4). */
export const CHANNEL_DATA_HEADER_LENGTH = 4;
/** The lowest channel number. */
export const MINIMUM_CHANNEL = 0x4000;
/** The highest channel number of RFC 8656 §12. */
export const MAXIMUM_CHANNEL = 0x4fff;
/** The highest channel number of RFC 5766 §11, which older clients use. */
export const MAXIMUM_CHANNEL_RFC5766 = 0x7fff;

/** True if a packet that begins with this byte can be ChannelData: its first two bits are 01. */
export function isChannelData(firstByte: number): boolean {
  return (firstByte & 0xc0) === 0x40;
}

/** The channel number of the ChannelData message at `offset`. The caller has checked that 4 bytes are there. */
export function channelDataNumber(bytes: Uint8Array, offset: number): number {
  return readUint16(bytes, offset);
}

/** The length of its data, as it says itself. The caller has checked that 4 bytes are there. */
export function channelDataLength(bytes: Uint8Array, offset: number): number {
  return readUint16(bytes, offset + 2);
}

/** Writes the four bytes before `length` bytes of data. */
export function writeChannelDataHeader(bytes: Uint8Array, offset: number, channel: number, length: number): void {
  writeUint16(bytes, offset, channel);
  writeUint16(bytes, offset + 2, length);
}

/** A ChannelData message: the data are `dataLength` bytes at `dataOffset` of the buffer that was decoded. */
export interface ChannelData {
  readonly channel: number;
  readonly dataOffset: number;
  readonly dataLength: number;
}

/** `lengthMismatch`: the length field reaches past the end. `offset` counts from the first byte of the message. */
export interface ChannelDataError {
  readonly code: "tooShort" | "notChannelData" | "lengthMismatch";
  readonly offset: number;
}

export type ChannelDataResult =
  | { readonly ok: true; readonly value: ChannelData }
  | { readonly ok: false; readonly error: ChannelDataError };

/**
 * Decodes the ChannelData message in `bytes[offset, offset + length)`. Bytes behind the data are padding and ignored
 * (RFC 8656 §12.5). Never throws and never reads outside.
 */
export function decodeChannelData(
  bytes: Uint8Array,
  offset = 0,
  length: number = bytes.length - offset,
): ChannelDataResult {
  if (!(length >= CHANNEL_DATA_HEADER_LENGTH && offset >= 0 && offset + length <= bytes.length)) {
    return { ok: false, error: { code: "tooShort", offset: 0 } };
  }
  if (!isChannelData(bytes[offset]!)) return { ok: false, error: { code: "notChannelData", offset: 0 } };
  const dataLength = channelDataLength(bytes, offset);
  if (CHANNEL_DATA_HEADER_LENGTH + dataLength > length) {
    return { ok: false, error: { code: "lengthMismatch", offset: 2 } };
  }
  return {
    ok: true,
    value: { channel: channelDataNumber(bytes, offset), dataOffset: offset + CHANNEL_DATA_HEADER_LENGTH, dataLength },
  };
}

/**
 * Encodes a ChannelData message, padded to a multiple of four bytes for streams (RFC 8656 §12.5).
 *
 * @throws RangeError if `channel` is not 0x4000–0x7FFF or `data` is longer than 65,535 bytes.
 */
export function encodeChannelData(
  channel: number,
  data: Uint8Array,
  { padded = false }: { readonly padded?: boolean } = {},
): Uint8Array {
  if (!Number.isInteger(channel) || channel < MINIMUM_CHANNEL || channel > MAXIMUM_CHANNEL_RFC5766) {
    throw new RangeError(`Cannot encode ChannelData: ${channel} is not a channel number (0x4000–0x7FFF)`);
  }
  if (data.length > 0xffff) throw new RangeError(`Cannot encode ChannelData: ${data.length} bytes, at most 65535 fit`);
  const room = padded ? paddedLength(data.length) : data.length;
  const bytes = new Uint8Array(CHANNEL_DATA_HEADER_LENGTH + room);
  writeChannelDataHeader(bytes, 0, channel, data.length);
  bytes.set(data, CHANNEL_DATA_HEADER_LENGTH);
  return bytes;
}
