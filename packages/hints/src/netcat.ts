import type { Duplex, Readable, Writable } from "node:stream";
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
  let sent = 0;
  let received = 0;
  const options = ends.signal === undefined ? {} : { signal: ends.signal };
  const count = (add: (length: number) => void) =>
    async function* counted(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const chunk of source) {
        add(chunk.length);
        yield chunk;
      }
    };
  try {
    await Promise.all([
      pipeline(
        ends.input,
        count((length) => (sent += length)),
        stream,
        options,
      ),
      // Standard output stays open for whoever writes to it next.
      pipeline(
        stream,
        count((length) => (received += length)),
        ends.output,
        { ...options, end: false },
      ),
    ]);
  } finally {
    stream.destroy();
  }
  return { sent, received };
}
