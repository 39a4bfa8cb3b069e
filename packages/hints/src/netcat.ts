import { type Duplex, type Readable, Transform, type TransformCallback, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Clock, systemClock } from "./clock.ts";

/** What {@link netcat} carried, in bytes. */
export interface NetcatResult {
  readonly sent: number;
  readonly received: number;
}

/** The ends that {@link netcat} joins to a stream. */
export interface NetcatOptions {
  readonly input: Readable;
  /** Left open at the end, as standard output must be. */
  readonly output: Writable;
  /** As the connection or the incoming stream says. Default true. */
  readonly halfClose?: boolean;
  /** Without half-close: how long the peer must be silent after our input ended. Default 5,000. */
  readonly lingerMilliseconds?: number;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
}

/**
 * Carries bytes both ways between a stream and a pair of others, such as standard input and output, until both directions
 * have ended. The end of one direction is passed on at once and leaves the other open. Where that cannot be
 * (`halfClose: false`), the stream is ended when the peer ends it, or has been silent for a while after the input ended.
 */
export async function netcat(stream: Duplex, options: NetcatOptions): Promise<NetcatResult> {
  const { input, output, signal } = options;
  const sent = new ByteCounter();
  const received = new ByteCounter();
  const halfClose = options.halfClose ?? true;
  const abort = signal === undefined ? {} : { signal };
  // Two pipelines listen on one stream, which is more than Node takes for a leak.
  stream.setMaxListeners(Math.max(stream.getMaxListeners(), 32));
  try {
    const receiving = pipeline(stream, received, output, { ...abort, end: false });
    const sending = halfClose
      ? pipeline(input, sent, stream, abort)
      : pipeline(input, sent, stream, { ...abort, end: false }).then(() =>
          linger(stream, received, receiving, options),
        );
    await Promise.all([sending, receiving]);
  } finally {
    stream.destroy();
  }
  return { sent: sent.bytes, received: received.bytes };
}

/** Ends the stream when the peer has been silent long enough, unless the peer ends it before. */
async function linger(
  stream: Duplex,
  received: ByteCounter,
  receiving: Promise<void>,
  options: NetcatOptions,
): Promise<void> {
  const clock = options.clock ?? systemClock;
  const over = Promise.withResolvers<void>();
  let cancel: () => void = () => undefined;
  const wait = (): void => {
    cancel();
    cancel = clock.after(options.lingerMilliseconds ?? 5_000, over.resolve);
  };
  received.on("data", wait);
  wait();
  try {
    await Promise.race([over.promise, receiving]);
  } finally {
    cancel();
    received.off("data", wait);
  }
  if (!stream.writableEnded) stream.end();
}

/** Passes bytes on and counts them. (An async generator would not do: it destroys a stream that ends in one direction.) */
class ByteCounter extends Transform {
  bytes = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.bytes += chunk.length;
    done(null, chunk);
  }
}
