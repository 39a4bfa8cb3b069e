import { type Duplex, type Readable, Transform, type TransformCallback, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** What {@link netcat} carried, in bytes. */
export interface NetcatResult {
  readonly sent: number;
  readonly received: number;
}

/**
 * Carries bytes both ways between a stream and a pair of others, such as standard input and output, until both directions
 * have ended. The end of one direction is passed on at once and leaves the other open.
 */
export async function netcat(
  stream: Duplex,
  ends: {
    readonly input: Readable;
    readonly output: Writable;
    readonly signal?: AbortSignal;
  },
): Promise<NetcatResult> {
  const sent = new ByteCounter();
  const received = new ByteCounter();
  const options = ends.signal === undefined ? {} : { signal: ends.signal };
  try {
    await Promise.all([
      pipeline(ends.input, sent, stream, options),
      // Standard output stays open for whoever writes to it next.
      pipeline(stream, received, ends.output, { ...options, end: false }),
    ]);
  } finally {
    stream.destroy();
  }
  return { sent: sent.bytes, received: received.bytes };
}

/** Passes bytes on and counts them. (An async generator would not do: it destroys a stream that ends in one direction.) */
class ByteCounter extends Transform {
  bytes = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.bytes += chunk.length;
    done(null, chunk);
  }
}
