/** Big-endian integers in a byte array. Reads past the end give 0; callers check lengths first. */
export function readUint16(bytes: Uint8Array, offset: number): number {
  return (at(bytes, offset) << 8) | at(bytes, offset + 1);
}

/** A signed 32-bit word, as {@link IpAddress} holds them. */
export function readInt32(bytes: Uint8Array, offset: number): number {
  return (
    (at(bytes, offset) << 24) | (at(bytes, offset + 1) << 16) | (at(bytes, offset + 2) << 8) | at(bytes, offset + 3)
  );
}

export function readUint32(bytes: Uint8Array, offset: number): number {
  return readInt32(bytes, offset) >>> 0;
}

export function writeUint16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** Signed or unsigned. */
export function writeUint32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

/** The next multiple of four: attributes and ChannelData over streams are padded to it. */
export function paddedLength(length: number): number {
  return (length + 3) & ~3;
}

/** Compares all bytes whatever the outcome, so that its time tells nothing of where they differ. */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= at(a, index) ^ at(b, index);
  return difference === 0;
}

function at(bytes: Uint8Array, offset: number): number {
  return bytes[offset]!;
}
