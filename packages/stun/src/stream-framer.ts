import { paddedLength, readUint16 } from "./bytes.ts";
import { CHANNEL_DATA_HEADER_LENGTH, isChannelData } from "./channel-data.ts";
import { HEADER_LENGTH, isStun } from "./header.ts";

/**
 * One message of a stream: `length` bytes at `offset` of `buffer`, without the padding of ChannelData. The object and
 * the buffer are used again: valid until the next call of the framer.
 */
export interface StreamFrame {
  readonly kind: "stun" | "channelData";
  readonly buffer: Uint8Array;
  readonly offset: number;
  readonly length: number;
}

/** Why a stream can't be read any further: the caller closes the connection. */
export interface StreamFrameError {
  readonly kind: "error";
  /**
   * `garbage`: neither STUN nor ChannelData begins here. `badCookie`, `lengthNotMultipleOf4`: a STUN header that is
   * none.
   */
  readonly code: "garbage" | "badCookie" | "lengthNotMultipleOf4";
  /** Where, counted from the first byte of the stream. */
  readonly offset: number;
}

/** The longest message that a stream can carry, in bytes: 20 of header and 65,532 of attributes. */
export const MAXIMUM_STREAM_FRAME = 65_552;

/**
 * Cuts a byte stream into STUN messages and ChannelData (RFC 8489 §6.2.2, RFC 8656 §12.5). Feed it with `push`, then
 * call `next` until it returns undefined.
 *
 * A chunk is read where it lies and not copied, but for a message that doesn't end in it: after `next` has returned
 * undefined the caller may use the chunk again. What is kept is at most one message, and only as much memory as has
 * really arrived, up to the next power of two.
 */
export class StreamFramer {
  /** What is being read: the last chunk, or nothing. */
  #chunk: Uint8Array = EMPTY;
  #at = 0;
  /** The beginning of a message that the last chunk didn't complete. */
  #partial: Uint8Array = EMPTY;
  #partialLength = 0;
  /** Bytes of padding that are still to come. */
  #padding = 0;
  /** Position in the stream of the first byte that is in no message yet. */
  #position = 0;
  #error: StreamFrameError | undefined;
  readonly #frame: { -readonly [Key in keyof StreamFrame]: StreamFrame[Key] } = {
    kind: "stun",
    buffer: EMPTY,
    offset: 0,
    length: 0,
  };

  /** Bytes of an unfinished message that are kept. */
  get bufferedLength(): number {
    return this.#partialLength;
  }

  /**
   * Hands in what has arrived. The framer reads it until `next` returns undefined.
   *
   * @throws Error if the chunk before hasn't been read to its end.
   */
  push(chunk: Uint8Array): void {
    if (this.#error !== undefined) return;
    if (this.#at < this.#chunk.length) throw new Error("Cannot push: call next() until it returns undefined first");
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** The next whole message, undefined if more bytes are needed, or an error, which is final. */
  next(): StreamFrame | StreamFrameError | undefined {
    if (this.#error !== undefined) return this.#error;
    this.#skipPadding();
    return this.#partialLength === 0 ? this.#fromChunk() : this.#fromPartial();
  }

  /**
   * Takes out what is left: bytes that came behind the last whole message, without its padding. For a connection that
   * carries something else from here on (RFC 6062 §5.4). The framer is empty afterwards.
   */
  takeRest(): Uint8Array {
    this.#skipPadding();
    const rest = new Uint8Array(this.#partialLength + this.#chunk.length - this.#at);
    rest.set(this.#partial.subarray(0, this.#partialLength));
    rest.set(this.#chunk.subarray(this.#at), this.#partialLength);
    this.#position += rest.length;
    this.#chunk = EMPTY;
    this.#at = 0;
    this.#partial = EMPTY;
    this.#partialLength = 0;
    return rest;
  }

  #fromChunk(): StreamFrame | StreamFrameError | undefined {
    const available = this.#chunk.length - this.#at;
    if (available === 0) {
      this.#chunk = EMPTY;
      this.#at = 0;
      if (this.#partial.length > SMALL) this.#partial = EMPTY;
      return undefined;
    }
    const needed = this.#measure(this.#chunk, this.#at, available);
    if (this.#error !== undefined) return this.#error;
    if (available < needed) {
      this.#keep(available);
      return undefined;
    }
    const start = this.#at;
    this.#at += needed;
    return this.#emit(this.#chunk, start, needed);
  }

  /** Completes the kept message, first so far that its length is known. */
  #fromPartial(): StreamFrame | StreamFrameError | undefined {
    for (;;) {
      const needed = this.#measure(this.#partial, 0, this.#partialLength);
      if (this.#error !== undefined) return this.#error;
      if (needed <= this.#partialLength) {
        this.#partialLength = 0;
        return this.#emit(this.#partial, 0, needed);
      }
      const available = this.#chunk.length - this.#at;
      if (available === 0) {
        this.#chunk = EMPTY;
        this.#at = 0;
        return undefined;
      }
      this.#keep(Math.min(available, needed - this.#partialLength));
    }
  }

  /**
   * How many bytes the message at `offset` has, or how many must be there to tell. Depends on the bytes only, not on how
   * they arrived. Sets the error if there is no message.
   */
  #measure(buffer: Uint8Array, offset: number, available: number): number {
    const first = buffer[offset]!;
    if (isChannelData(first)) {
      if (available < CHANNEL_DATA_HEADER_LENGTH) return CHANNEL_DATA_HEADER_LENGTH;
      return CHANNEL_DATA_HEADER_LENGTH + readUint16(buffer, offset + 2);
    }
    if (!isStun(first)) return this.#fail("garbage", 0);
    // In the order of the bytes: what can't become a message any more is refused at once, not waited for.
    if (available < LENGTH_END) return LENGTH_END;
    const length = readUint16(buffer, offset + 2);
    if ((length & 3) !== 0) return this.#fail("lengthNotMultipleOf4", 2);
    for (let at = LENGTH_END; at < Math.min(available, COOKIE_END); at++) {
      if (buffer[offset + at] !== MAGIC_COOKIE_BYTES[at - LENGTH_END]) return this.#fail("badCookie", LENGTH_END);
    }
    return available < COOKIE_END ? COOKIE_END : HEADER_LENGTH + length;
  }

  #emit(buffer: Uint8Array, offset: number, length: number): StreamFrame {
    // The message is handed out before its padding has come: a short ChannelData must not wait for the next message.
    this.#padding = paddedLength(length) - length;
    this.#position += length;
    const frame = this.#frame;
    frame.kind = isChannelData(buffer[offset]!) ? "channelData" : "stun";
    frame.buffer = buffer;
    frame.offset = offset;
    frame.length = length;
    return frame;
  }

  #skipPadding(): void {
    const skipped = Math.min(this.#padding, this.#chunk.length - this.#at);
    this.#padding -= skipped;
    this.#at += skipped;
    this.#position += skipped;
  }

  /** Moves `count` bytes of the chunk behind what is kept. */
  #keep(count: number): void {
    const length = this.#partialLength + count;
    if (length > this.#partial.length) {
      const grown = new Uint8Array(Math.min(Math.max(SMALL, 2 ** Math.ceil(Math.log2(length))), MAXIMUM_STREAM_FRAME));
      grown.set(this.#partial.subarray(0, this.#partialLength));
      this.#partial = grown;
    }
    this.#partial.set(this.#chunk.subarray(this.#at, this.#at + count), this.#partialLength);
    this.#partialLength = length;
    this.#at += count;
  }

  #fail(code: StreamFrameError["code"], offset: number): number {
    this.#error = { kind: "error", code, offset: this.#position + offset };
    this.#chunk = EMPTY;
    this.#at = 0;
    this.#partial = EMPTY;
    this.#partialLength = 0;
    return 0;
  }
}

const EMPTY: Uint8Array = new Uint8Array(0);
/** A buffer of this size stays with an idle connection. */
const SMALL = 256;
/** Where the length of a STUN header ends and its magic cookie begins. */
const LENGTH_END = 4;
/** Where the magic cookie ends. */
const COOKIE_END = 8;
const MAGIC_COOKIE_BYTES = Uint8Array.of(0x21, 0x12, 0xa4, 0x42);
